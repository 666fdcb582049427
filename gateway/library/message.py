"""One message, bytes in and bytes out: protected for its readers, or opened for its reader. Each of both blocking, and awaited.

The two of a pair run the same steps; the blocking one needs no event loop, and minds none that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.encryption import Floor
from gateway.edge.clock import now
from gateway.flow.protect import SigningKey
from gateway.flow.work import without_loop
from gateway.library.body import FLOOR, HOSTNAME, Trust, open_body, protect_body
from gateway.library.key import AsyncPrivateKey, AtOnce, Key, PrivateKey, Ring
from gateway.mail.body import Body
from gateway.mail.confidentiality import HeaderProtection, Headers
from gateway.mail.memory import MemoryBody
from gateway.mail.verdict import Verdict
from gateway.mail.wire import canonical_form, wire_form
from gateway.outcome import GatewayError
from gateway.smime.keys import Mechanism
from gateway.smime.known import Strength
from gateway.smime.message import SignedForm
from gateway.trust.certificate import facts
from gateway.trust.given import GivenTrust
from gateway.trust.judgement import Purpose
from gateway.trust.suitability import unusable

NOBODY: Final = GivenTrust.of(())
"""Believes no signer."""
BASELINE: Final = HeaderProtection(Headers.BASELINE)


@dataclass(frozen=True, slots=True)
class Opened:
    """``message`` is what is inside, its ``verdict`` written into its header; as it came but for that where it did not open.

    ``signer`` is the certificate (DER) of the signer who verifies it, None where it is not verified.
    """

    message: bytes
    verdict: Verdict
    signer: bytes | None


def protect_message(
    message: bytes,
    *,
    signer: Key[PrivateKey] | None = None,
    readers: Sequence[bytes] = (),
    headers: HeaderProtection = BASELINE,
    form: SignedForm = SignedForm.CLEAR,
    mechanism: Mechanism | None = None,
    floor: Floor = FLOOR,
    at: int | None = None,
) -> bytes:
    """``message`` signed by ``signer`` and encrypted to ``readers`` (certificates, DER): by one of the two, or first signed.

    ``message`` is RFC 5322, its lines ended by LF throughout or by CRLF; the answer has CRLF. ``headers``: what becomes of its
    header (RFC 9788); ``form``: how it is signed; ``mechanism``: by what, None for what the key does by itself; ``floor``: the
    least that readers are encrypted to with, and what those get whose certificates say nothing. ``at`` is the signing time in
    microseconds UTC, None for now.

    Raises :class:`GatewayError`: where a certificate may not be used for this (EXPIRED, NOT_YET_VALID, KEY_USAGE, EKU, CHAIN,
    WEAK_ALGORITHM, UNSUPPORTED), for the message (MALFORMED, LIMIT), KEY_UNAVAILABLE, OWN_WORK_WRONG; ValueError where neither was
    asked for. Nothing is then protected in part.
    """
    held = None if signer is None else Key(AtOnce(signer.private), signer.certificates)
    return without_loop(
        protect_message_async(
            message, signer=held, readers=readers, headers=headers, form=form, mechanism=mechanism, floor=floor, at=at
        )
    )


async def protect_message_async(
    message: bytes,
    *,
    signer: Key[AsyncPrivateKey] | None = None,
    readers: Sequence[bytes] = (),
    headers: HeaderProtection = BASELINE,
    form: SignedForm = SignedForm.CLEAR,
    mechanism: Mechanism | None = None,
    floor: Floor = FLOOR,
    at: int | None = None,
) -> bytes:
    """:func:`protect_message`, awaited."""
    moment = now() if at is None else at
    signing = None
    if signer is not None:
        ring = Ring((signer,))
        ((name, certificates),) = ring.certificates.items()
        _usable(certificates[:1], Purpose.SMIME_SIGNER, moment)
        signing = ring, SigningKey(name, certificates, mechanism=mechanism)
    _usable(readers, Purpose.SMIME_RECIPIENT, moment)
    body = MemoryBody.of(canonical_form(message))
    return _bytes(await protect_body(body, signing, readers, at=moment, headers=headers, form=form, floor=floor))


def open_message(
    message: bytes,
    *,
    keys: Sequence[Key[PrivateKey]] = (),
    trust: Trust = NOBODY,
    strength: Strength = Strength.MODERN,
    hostname: str = HOSTNAME,
    keep_signature: bool = False,
    at: int | None = None,
) -> Opened:
    """``message`` decrypted by ``keys``, best first, and what its signatures prove to whoever believes ``trust``.

    ``message`` is RFC 5322; lines ended by LF alone are taken for lines. ``strength``: whether weak algorithms are read, which
    verify nothing; ``hostname`` is who gives the verdict (RFC 8601 2.2); a signature that verifies the message is taken off unless
    ``keep_signature``. ``at`` is the time to judge at in microseconds UTC, None for now. What cannot be opened or believed is no
    error: the verdict says it, and the same of every fault that a private key had part in (RFC 3218). Raises
    :class:`GatewayError`: MALFORMED and LIMIT for a header that cannot be read, KEY_UNAVAILABLE.
    """
    held = [Key(AtOnce(key.private), key.certificates) for key in keys]
    return without_loop(
        open_message_async(
            message, keys=held, trust=trust, strength=strength, hostname=hostname, keep_signature=keep_signature, at=at
        )
    )


async def open_message_async(
    message: bytes,
    *,
    keys: Sequence[Key[AsyncPrivateKey]] = (),
    trust: Trust = NOBODY,
    strength: Strength = Strength.MODERN,
    hostname: str = HOSTNAME,
    keep_signature: bool = False,
    at: int | None = None,
) -> Opened:
    """:func:`open_message`, awaited."""
    ring = Ring(keys)
    opened = await open_body(
        MemoryBody.of(wire_form(message)),
        ring,
        {name: certificates[0] for name, certificates in ring.certificates.items()},
        trust,
        at=now() if at is None else at,
        strength=strength,
        hostname=hostname,
        keep_signature=keep_signature,
    )
    return Opened(_bytes(opened.body), opened.verdict, None if opened.proof is None else opened.proof.signer.certificate)


def _usable(certificates: Iterable[bytes], purpose: Purpose, at: int) -> None:
    """Returns where each may be used for ``purpose``, whoever issued it."""
    for certificate in certificates:
        doubt = unusable(facts(certificate), purpose, at)
        if doubt is not None:
            raise GatewayError(doubt.reason, doubt.detail)


def _bytes(body: Body) -> bytes:
    return b"".join(body.chunks())
