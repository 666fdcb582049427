"""What our keys sign with: which mechanisms fit a key, the one it uses unless told otherwise first. Pure: keys sign elsewhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import CURVES, HASHES
from gateway.smime.certificate import SigningPublicKey, identified, signing_key
from gateway.smime.keys import Mechanism, digest_of
from gateway.smime.schemes import Family, Scheme, permits
from gateway.smime.verify import verifies

_RSA: Final = tuple(mechanism for mechanism in Mechanism if mechanism.startswith("rsa-"))  # PKCS #1 first: every reader knows it
_ECDSA: Final = tuple(mechanism for mechanism in Mechanism if mechanism.startswith("ecdsa-"))


@lru_cache(maxsize=4096)
def mechanisms_of(certificate: bytes) -> tuple[Mechanism, ...]:
    """What the key of ``certificate`` (DER) may sign with: RSA PKCS #1 v1.5 with SHA-256 first, or the digest of the curve's size.

    A key that is for PSS alone signs with PSS, within its parameters (RFC 4055 3.3). Raises :class:`GatewayError`: UNSUPPORTED
    where none of ours fits, and as :func:`gateway.smime.certificate.signing_key`.
    """
    spki = identified(certificate).spki
    fitting = tuple(each for each in _of_kind(signing_key(certificate)) if permits(spki, scheme_for(each)))
    if not fitting:
        raise GatewayError(Reason.UNSUPPORTED, "RSA key for PSS with other parameters than we sign by")
    return fitting


def mechanism_for(certificate: bytes, asked: Mechanism | None = None) -> Mechanism:
    """What the key of ``certificate`` (DER) signs with: as it is ``asked``, else the first that fits. Raises as
    :func:`mechanisms_of`, and UNSUPPORTED for one that does not fit.
    """
    fitting = mechanisms_of(certificate)
    if asked is not None and asked not in fitting:
        raise GatewayError(Reason.UNSUPPORTED, f"a key that does not sign with {asked}")
    return asked or fitting[0]


@lru_cache
def scheme_for(mechanism: Mechanism) -> Scheme:
    """How a signature by ``mechanism`` is checked."""
    digest = digest_of(mechanism)
    family = Family(mechanism.removesuffix(f"-{digest}"))
    if family is Family.RSA_PSS:
        return Scheme(family, digest, digest, HASHES[digest].digest_size)
    return Scheme(family, digest)


def verify(key: SigningPublicKey, attributes: bytes, signature: bytes, mechanism: Mechanism) -> None:
    """Returns when ``signature`` over ``attributes`` verifies. Raises :class:`GatewayError` (OWN_WORK_WRONG) otherwise."""
    scheme = scheme_for(mechanism)
    if not verifies(key, signature, attributes, scheme, HASHES[scheme.digest]):
        raise GatewayError(Reason.OWN_WORK_WRONG, "our signature does not verify with our certificate")


def _of_kind(key: SigningPublicKey) -> tuple[Mechanism, ...]:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA
    if isinstance(key, ec.EllipticCurvePublicKey):
        own = CURVES[key.curve.name]
        return tuple(sorted(_ECDSA, key=lambda mechanism: digest_of(mechanism) is not own))
    return (Mechanism.ED25519,)
