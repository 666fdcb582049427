"""Whether a next hop can carry a mail as it is (RFC 1870, 6152, 6531, 8689). What it cannot carry is refused, never bent to fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.mail.body import Body
from gateway.mail.envelope import Body as BodyType
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.message import MAX_HEADER, head_bytes
from gateway.outcome import Reason, Refuse
from gateway.smtp.extensions import Extensions


@dataclass(frozen=True, slots=True)
class Fit:
    """``envelope`` is what to send, possibly to nobody; ``refused`` are the recipients left out, and why."""

    envelope: Envelope
    refused: tuple[tuple[Recipient, Refuse], ...] = ()


def fit(extensions: Extensions, envelope: Envelope, body: Body, *, secure: bool) -> Fit:
    """What of the mail a hop that offers ``extensions`` can carry. ``secure``: under TLS, with a verified certificate.

    Reads the body only where the hop lacks an extension that the body may need.
    """
    trouble = _too_much(extensions, envelope, body, secure=secure)
    if trouble is not None:
        return _nobody(envelope, trouble)
    if not extensions.offers("8BITMIME"):
        if not all(chunk.isascii() for chunk in body.chunks()):
            return _nobody(envelope, Refuse(Reason.HOP_LACKS, "the next hop lacks 8BITMIME"))
        envelope = replace(envelope, body=BodyType.SEVEN_BIT)
    return _fit_addresses(extensions, envelope, body)


def _too_much(extensions: Extensions, envelope: Envelope, body: Body, *, secure: bool) -> Refuse | None:
    limit = extensions.size_limit
    if limit is not None and body.size > limit:
        return Refuse(Reason.TOO_LARGE, f"{body.size} bytes; the next hop takes {limit}")
    if envelope.require_tls and not (secure and extensions.offers("REQUIRETLS")):
        return Refuse(Reason.HOP_LACKS_REQUIRETLS, "the next hop lacks REQUIRETLS" if secure else "no TLS to the next hop")
    return None


def _fit_addresses(extensions: Extensions, envelope: Envelope, body: Body) -> Fit:
    """SMTPUTF8 is for the whole mail (RFC 6531 3.4): without it go only ASCII headers, from and to ASCII addresses."""
    wide = tuple(recipient for recipient in envelope.recipients if recipient.address.needs_smtputf8)
    wide_sender = envelope.sender is not None and envelope.sender.needs_smtputf8
    if not (envelope.smtputf8 or wide or wide_sender):
        return Fit(envelope)
    if extensions.offers("SMTPUTF8"):
        return Fit(replace(envelope, smtputf8=True))
    lacks = Refuse(Reason.HOP_LACKS, "the next hop lacks SMTPUTF8")
    if wide_sender or not _header(body).isascii():
        return _nobody(envelope, lacks)
    narrow = tuple(recipient for recipient in envelope.recipients if recipient not in wide)
    return Fit(replace(envelope, recipients=narrow, smtputf8=False), tuple((recipient, lacks) for recipient in wide))


def _header(body: Body) -> bytes:
    return head_bytes(body, MAX_HEADER).partition(b"\r\n\r\n")[0]


def _nobody(envelope: Envelope, why: Refuse) -> Fit:
    return Fit(replace(envelope, recipients=()), tuple((recipient, why) for recipient in envelope.recipients))
