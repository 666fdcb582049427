"""What is known not to work, and why. Every cell of the table that is not here works, or there is nobody to write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from interop.case import Case, Management, Scheme, Twist
from interop.outcome import Direction, End, Outcome

Of = Callable[[Case], bool]


@dataclass(frozen=True, slots=True)
class Refusal:
    """``peer`` refuses the cases in ``of``, saying ``says`` (part of its words). ``why`` is for the reader of the table."""

    direction: Direction
    peer: str
    of: Of
    says: str
    why: str


def tagged(case: Case) -> bool:
    """AuthEnvelopedData."""
    return case.encryption is not None and case.encryption.cipher.authenticated


def to(*readers: Management) -> Of:
    """Encrypted to one of these."""
    return lambda case: case.encryption is not None and not set(readers).isdisjoint(case.encryption.readers)


def read_by(*readers: Management) -> Of:
    """Encrypted, and opened by one of these."""
    return lambda case: case.encryption is not None and case.encryption.readers[0] in readers


def signed_by(scheme: Scheme) -> Of:
    """Signed so."""
    return lambda case: case.signing is not None and case.signing.scheme is scheme


AGREED: Final = (Management.P256, Management.P384, Management.P521)
GPGSM, NSS, OPENSSL, BOUNCY_CASTLE, THUNDERBIRD = "gpgsm", "NSS cmsutil", "OpenSSL", "Bouncy Castle", "Thunderbird"
OURS, THEIRS = Direction.OURS, Direction.THEIRS

REFUSALS: Final = (
    Refusal(OURS, GPGSM, tagged, "error getting IV", "It knows no AuthEnvelopedData (RFC 5083)."),
    Refusal(OURS, GPGSM, read_by(Management.OAEP), "error getting encrypted session key", "It knows no RSA-OAEP."),
    Refusal(OURS, GPGSM, read_by(*AGREED), "Invalid session key", "It agrees on no key; what OpenSSL writes it refuses as well."),
    Refusal(OURS, GPGSM, signed_by(Scheme.P521), "multiple of 8 bits", "It does not verify its own P-521 signatures either."),
    Refusal(OURS, GPGSM, signed_by(Scheme.ED25519), "multiple of 8 bits", "It knows no Ed25519."),
    Refusal(OURS, GPGSM, read_by(Management.X25519), "error getting encrypted session key", "It knows no X25519."),
    Refusal(OURS, OPENSSL, signed_by(Scheme.ED25519), "invalid digest", "OpenSSL 3.0 verifies no CMS signature of such a key."),
    Refusal(OURS, OPENSSL, read_by(Management.X25519), "no matching recipient", "OpenSSL 3.0 knows no such reader in CMS."),
    Refusal(OURS, NSS, tagged, "failed to decode", "This version knows no AuthEnvelopedData (RFC 5083)."),
    Refusal(OURS, NSS, read_by(Management.OAEP), "failed to decode", "This version knows no RSA-OAEP in CMS."),
    Refusal(OURS, NSS, signed_by(Scheme.ED25519), "ProcessingError", "This version takes no such certificate."),
    Refusal(
        OURS,
        NSS,
        to(*AGREED, Management.X25519),
        "failed to decode",
        "This version agrees on no key in CMS, nor reads past a reader who does.",
    ),
    Refusal(
        OURS, THUNDERBIRD, tagged, "an empty message is shown", "It knows no AuthEnvelopedData (RFC 5083), and does not say so."
    ),
    Refusal(OURS, THUNDERBIRD, signed_by(Scheme.ED25519), "VERIFY_UNTRUSTED", "It takes no such certificate."),
    Refusal(OURS, THUNDERBIRD, read_by(Management.X25519), "cannot decrypt this message", "It takes no such key."),
    Refusal(OURS, BOUNCY_CASTLE, read_by(Management.X25519), "not available", "This version knows no RFC 8418."),
    Refusal(
        OURS,
        THUNDERBIRD,
        lambda case: case.twist is Twist.ORGANISATION,
        "VERIFY_HEADER_MISMATCH",
        "So it shows the signature of an organisation on a letter of one of its people.",
    ),
    Refusal(
        OURS,
        THUNDERBIRD,
        lambda case: case.twist is Twist.LATE,
        "VERIFY_TIME_MISMATCH",
        "It wants the signing time within an hour of Date: a letter that waited longer before it was signed shows as badly signed.",
    ),
    Refusal(
        OURS,
        THUNDERBIRD,
        lambda case: case.twist is Twist.PROTECTED and case.encryption is not None,
        "the Subject shown is [...]",
        "Of S/MIME mail it shows the outer header alone (no RFC 9788); such readers want what is hidden repeated in the text.",
    ),
    Refusal(THEIRS, OPENSSL, signed_by(Scheme.ED25519), "invalid digest", "OpenSSL 3.0 makes no CMS signature by such a key."),
    Refusal(THEIRS, OPENSSL, to(Management.X25519), "not supported for this keytype", "OpenSSL 3.0 knows no such reader in CMS."),
    Refusal(THEIRS, GPGSM, signed_by(Scheme.ED25519), "No secret key", "It reads no such key."),
    Refusal(
        THEIRS,
        GPGSM,
        to(*AGREED, Management.X25519),
        "not usable for encryption",
        "It wants keyEncipherment in the certificate, which RFC 8813 3 forbids there.",
    ),
    Refusal(THEIRS, NSS, signed_by(Scheme.ED25519), "does not exist", "This version takes no such certificate."),
    Refusal(THEIRS, NSS, to(*AGREED), "cannot create CMS recipientInfo", "This version agrees on no key in CMS."),
    Refusal(THEIRS, NSS, to(Management.X25519), "cannot find certificate", "This version takes no such certificate."),
    Refusal(THEIRS, BOUNCY_CASTLE, to(Management.X25519), "Unknown key agreement", "This version knows no RFC 8418."),
    Refusal(THEIRS, THUNDERBIRD, signed_by(Scheme.ED25519), "no certificate", "It takes no such key."),
    Refusal(THEIRS, THUNDERBIRD, to(Management.X25519), "no certificate", "It takes no such key."),
)


def refusal(direction: Direction, peer: str, case: Case) -> Refusal | None:
    """The one that is expected."""
    return next((each for each in REFUSALS if (each.direction, each.peer) == (direction, peer) and each.of(case)), None)


def surprise(direction: Direction, peer: str, case: Case, outcome: Outcome) -> str:
    """What is not as expected; "" where all is."""
    known = refusal(direction, peer, case)
    match outcome.end:
        case End.ABSENT:
            return ""
        case End.OK if known is None:
            return ""
        case End.REFUSED if known is not None and known.says in outcome.words:
            return ""
    wanted = "ok" if known is None else f"refused: {known.says}"
    return f"{outcome.end} ({outcome.words}), not {wanted}"
