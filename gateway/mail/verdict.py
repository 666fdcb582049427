"""What is said of an inbound message: to ``message open`` as one JSON object, to the mailbox as marks in the header.

Marks that came from outside are taken out of the *final* header, in any spelling a forgiving reader might accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import dropwhile
from typing import Any, Final

from gateway.mail.message import Field, squeezed
from gateway.outcome import Reason

SECURITY: Final = "X-Gateway-Security"
RESULTS: Final = "Authentication-Results"
_OURS: Final = "x-gateway-"
_MAX_TEXT: Final = 300


class Judged(StrEnum):
    """The verdict on a message."""

    VERIFIED = "verified"
    SIGNED_UNVERIFIED = "signed-unverified"
    UNSIGNED = "unsigned"
    UNDECRYPTABLE = "undecryptable"
    MALFORMED = "malformed"
    MIXED = "mixed"


UNOPENED: Final = frozenset({Judged.UNDECRYPTABLE, Judged.MALFORMED})


@dataclass(frozen=True, slots=True)
class SignerVerdict:
    """One signature. ``signature`` is good, bad or unsupported; ``trust`` trusted, distrusted or unknown.

    ``serial`` is hexadecimal. ``reasons`` are why it does not verify the message, or marks that do not deny it.
    """

    subject: str
    addresses: tuple[str, ...]
    signature: str
    trust: str
    reasons: tuple[Reason, ...] = ()
    issuer: str = ""
    serial: str = ""
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerVerdict:
    """One layer. ``kind`` is signed, enveloped, authenveloped or compressed; ``where`` whole or part."""

    kind: str
    where: str
    algorithms: dict[str, str] = field(default_factory=dict)
    recipients: tuple[str, ...] = ()
    signers: tuple[SignerVerdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole. ``by`` is the signer who verifies the message; ``assurance`` on whose word, None where nobody verifies it."""

    judged: Judged
    author: tuple[str, ...]
    encrypted: bool
    reasons: tuple[Reason, ...] = ()
    layers: tuple[LayerVerdict, ...] = ()
    assurance: str | None = None
    by: SignerVerdict | None = None

    @property
    def encrypted_part(self) -> bool:
        """Whether a part among others is encrypted. It was left closed."""
        return any(layer.where == "part" and layer.kind in ("enveloped", "authenveloped") for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """The object that ``message open --json`` prints."""
        return {
            "verdict": str(self.judged),
            "from": list(self.author),
            "encrypted": self.encrypted,
            "assurance": self.assurance,
            "reasons": [str(reason) for reason in self.reasons],
            "layers": [_layer_json(layer) for layer in self.layers],
        }


def unreadable(reason: Reason) -> Verdict:
    """The verdict on what has no header that can be read: nobody wrote it, and nothing of it is shown."""
    return Verdict(Judged.MALFORMED, (), False, (reason,))


def _layer_json(layer: LayerVerdict) -> dict[str, Any]:
    return {
        "kind": layer.kind,
        "where": layer.where,
        "algorithms": dict(layer.algorithms),
        "recipients": list(layer.recipients),
        "signers": [
            {
                "subject": signer.subject,
                "addresses": list(signer.addresses),
                "signature": signer.signature,
                "trust": signer.trust,
                "reasons": [str(reason) for reason in signer.reasons],
            }
            for signer in layer.signers
        ],
    }


# What the mark says for each verdict (RFC 7281 3, RFC 8601 2.7.1): pass, fail, policy, neutral, none.
_FAILED: Final = frozenset({Reason.BAD_SIGNATURE, Reason.BAD_DIGEST, Reason.SIGNING_TIME})


def result_of(verdict: Verdict) -> str:
    """The ``smime=`` result."""
    match verdict.judged:
        case Judged.VERIFIED:
            return "pass"
        case Judged.SIGNED_UNVERIFIED:
            return "fail" if _FAILED.intersection(verdict.reasons) else "policy"
        case Judged.UNSIGNED:
            return "none"
        case _:
            return "neutral"


def marks(verdict: Verdict, hostname: str) -> bytes:
    """The header lines that tell the verdict, with CRLF, in ASCII. ``hostname`` is our authserv-id."""
    signer = verdict.by or next((each for layer in verdict.layers for each in layer.signers if each.serial), None)
    properties = [f"smime={result_of(verdict)}"]
    security = [f"verdict={verdict.judged}", f"encrypted={'yes' if verdict.encrypted else 'no'}"]
    if verdict.assurance:
        security.append(f"assurance={verdict.assurance}")
    if signer is not None:
        identifier = next(
            (each for each in signer.addresses if each in verdict.author), next(iter(signer.addresses), signer.subject)
        )
        properties.append(f"body.smime-identifier={_value(identifier)}")
        properties.append(f"body.smime-serial={_value(signer.serial)}")
        properties.append(f"body.smime-issuer={_value(signer.issuer)}")
        security.append(f"signer={_value(identifier)}")
        if signer.domains:
            security.append(f"domain={_value(','.join(signer.domains[:5]))}")
    if verdict.reasons:
        security.append(f"reasons={','.join(verdict.reasons)}")
    results = "\r\n\t".join(properties)
    return f"{RESULTS}: {hostname};\r\n\t{results}\r\n{SECURITY}: {f';{_FOLD}'.join(security)}\r\n".encode("ascii")


_FOLD: Final = "\r\n\t"
_PLAIN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-./=?^_`{|}~@]+")


def _value(text: str) -> str:
    """A token, an address or a quoted string (RFC 8601 2.2); what is not visible ASCII becomes ``?``."""
    text = "".join(char if " " <= char <= "~" else "?" for char in text[:_MAX_TEXT])
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def marked(fields: Iterable[Field], verdict: Verdict, hostname: str) -> bytes:
    """A header of ``fields`` with our marks above them and no others, its empty line included."""
    # A fold with no field above it would go on with our mark
    below = dropwhile(lambda each: each.raw.startswith((b" ", b"\t")), without_marks(fields, hostname))
    return marks(verdict, hostname) + b"".join(each.raw for each in below) + b"\r\n"


def without_marks(fields: Iterable[Field], hostname: str) -> Iterator[Field]:
    """The fields without those that only we may write."""
    return (each for each in fields if not _is_mark(each, hostname.encode("ascii").lower()))


def has_marks(fields: Sequence[Field], hostname: str) -> bool:
    """Whether any field is one that only we may write."""
    return len(list(without_marks(fields, hostname))) != len(fields)


def _is_mark(each: Field, hostname: bytes) -> bool:
    name = each.name.lower()
    if not name:
        return squeezed(each.raw).startswith((_OURS.encode(), RESULTS.lower().encode()))
    if name.startswith(_OURS):
        return True
    if name != RESULTS.lower():
        return False
    readings = (_without_comments(each.value, quotes) for quotes in (True, False))
    return any(b"smime" in value or hostname in value.partition(b";")[0] for value in readings)


def _without_comments(value: bytes, quotes: bool) -> bytes:
    """``value`` in lower case without its comments (RFC 5322 3.2.2), quotes, backslashes and white space. ``quotes``: a parenthesis
    inside a quoted string begins no comment, as it should be; not every reader knows. A comment that does not close stays.
    """
    kept, depth, quoted, opened = bytearray(), 0, False, 0
    for piece in _PIECES.findall(value.lower()):
        if piece == b'"' and quotes and not depth:
            quoted = not quoted
        elif piece == b"(" and not quoted:
            opened = opened if depth else len(kept)
            depth += 1
        elif piece == b")" and depth and not quoted:
            depth -= 1
            if not depth:
                del kept[opened:]
        elif not piece.isspace() and piece != b'"':
            kept += piece.removeprefix(b"\\")
    return bytes(kept)


_PIECES: Final = re.compile(rb"""\\.|[()"]|\s+|[^()"\\\s]+|\\""", re.DOTALL)
