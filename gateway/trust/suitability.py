"""Whether a certificate fits a purpose by itself: strength of its algorithms, key usage, extended key usage, time."""

from __future__ import annotations

from typing import Final

from gateway.outcome import Reason
from gateway.trust.certificate import CertificateFacts
from gateway.trust.judgement import Distrusted, Purpose
from gateway.trust.moment import TOLERANCE, as_text
from gateway.trust.publickey import PublicKey
from gateway.trust.strength import weak_key, weak_signature

_SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
_EMAIL_PROTECTION: Final = "1.3.6.1.5.5.7.3.4"
_ANY: Final = "2.5.29.37.0"

_EXTENDED: Final = {
    Purpose.SMIME_SIGNER: frozenset({_EMAIL_PROTECTION, _ANY}),  # RFC 8550 4.4.4
    Purpose.SMIME_RECIPIENT: frozenset({_EMAIL_PROTECTION, _ANY}),
    Purpose.GATEWAY_CLIENT: frozenset({_CLIENT_AUTH, _ANY}),  # RFC 5280 4.2.1.12
    Purpose.GATEWAY_SERVER: frozenset({_SERVER_AUTH, _ANY}),
    # What signs the list of a zone is the S/MIME certificate of an organisation, or one that says nothing of what it is for.
    Purpose.LIST_SIGNER: frozenset({_EMAIL_PROTECTION, _ANY}),
}
_SIGNING: Final = frozenset({"rsa", "ec", "ed25519", "ed448"})
_AGREEING: Final = frozenset({"ec", "ecdh", "x25519", "x448"})


def unusable(leaf: CertificateFacts, purpose: Purpose, at: int) -> Distrusted | None:
    """Why ``leaf`` cannot serve ``purpose`` at ``at`` (microseconds UTC), whoever issued it; None if it can."""
    return unsuitable(leaf, purpose, at) or outside(leaf, at)


def outside(certificate: CertificateFacts, at: int) -> Distrusted | None:
    """Why ``certificate`` is not valid at ``at`` (microseconds UTC); None if it is."""
    if at > certificate.not_after + TOLERANCE:
        return Distrusted(Reason.EXPIRED, f"{certificate.subject}: expired {as_text(certificate.not_after)}")
    if at < certificate.not_before - TOLERANCE:
        return Distrusted(Reason.NOT_YET_VALID, f"{certificate.subject}: not valid before {as_text(certificate.not_before)}")
    return None


def unsuitable(leaf: CertificateFacts, purpose: Purpose, at: int) -> Distrusted | None:
    """Why ``leaf`` cannot serve ``purpose`` at ``at`` (microseconds UTC), whoever issued it; None if it can."""
    if leaf.critical_unknown:
        return Distrusted(Reason.CHAIN, f"{leaf.subject}: critical extension {leaf.critical_unknown[0]} is unknown")
    weak = _weak(leaf, at, signed=True)
    if weak is not None:
        return weak
    if leaf.is_ca and purpose is not Purpose.CRL_SIGNER:
        return Distrusted(Reason.KEY_USAGE, f"{leaf.subject}: an authority's own certificate")
    usages = _usages(leaf.key, purpose)
    if not usages:
        return Distrusted(Reason.UNSUPPORTED, f"{leaf.subject}: a key of kind {leaf.key.kind} cannot serve as {purpose}")
    if leaf.ku is not None and not leaf.ku & usages:
        return Distrusted(Reason.KEY_USAGE, f"{leaf.subject}: needs key usage {' or '.join(sorted(usages))}")
    return _wrong_extended(leaf, purpose)


def unsuitable_authority(authority: CertificateFacts, purpose: Purpose, at: int, *, signed: bool) -> Distrusted | None:
    """Why ``authority`` cannot stand in a path for ``purpose``. ``signed`` False: it is the anchor, whose signature proves
    nothing and is not looked at. An extended key usage limits everything below it, as the CA/Browser Forum has it.
    """
    if authority.critical_unknown:
        return Distrusted(Reason.CHAIN, f"{authority.subject}: critical extension {authority.critical_unknown[0]} is unknown")
    if not authority.subject_name:
        return Distrusted(Reason.CHAIN, "an authority without a name")  # RFC 5280 4.1.2.6
    if authority.ku is not None and "key_cert_sign" not in authority.ku:
        return Distrusted(Reason.KEY_USAGE, f"{authority.subject}: its key usage does not let it issue")
    if authority.key.kind not in _SIGNING:
        return Distrusted(Reason.UNSUPPORTED, f"{authority.subject}: a key of kind {authority.key.kind} cannot issue")
    return _weak(authority, at, signed=signed) or _wrong_extended(authority, purpose)


def _wrong_extended(certificate: CertificateFacts, purpose: Purpose) -> Distrusted | None:
    if certificate.eku is None or purpose not in _EXTENDED or certificate.eku & _EXTENDED[purpose]:
        return None
    return Distrusted(Reason.EKU, f"{certificate.subject}: extended key usage {', '.join(sorted(certificate.eku))}")


def _usages(key: PublicKey, purpose: Purpose) -> frozenset[str]:
    """The key usages one of which must be set (RFC 8550 4.4.2, RFC 5280 4.2.1.3); empty: no key of this kind can serve."""
    if purpose is Purpose.SMIME_RECIPIENT:
        if key.kind == "rsa":
            return frozenset({"key_encipherment"})
        return frozenset({"key_agreement"}) if key.kind in _AGREEING else frozenset()
    if key.kind not in _SIGNING:
        return frozenset()
    if purpose is Purpose.CRL_SIGNER:
        return frozenset({"crl_sign"})
    if purpose in {Purpose.SMIME_SIGNER, Purpose.LIST_SIGNER}:
        return frozenset({"digital_signature", "content_commitment"})
    return frozenset({"digital_signature"})


def _weak(certificate: CertificateFacts, at: int, *, signed: bool) -> Distrusted | None:
    why = (weak_signature(certificate, at) if signed else None) or weak_key(certificate.key, at)
    return None if why is None else Distrusted(Reason.WEAK_ALGORITHM, f"{certificate.subject}: {why}")
