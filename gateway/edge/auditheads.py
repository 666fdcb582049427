"""One record of the audit's heads: the ends of its segments at one moment, chained to the record before, and signed.

A line of the file is three fields between tabs: the content (JSON), the DER of CMS SignedAttributes over its SHA-256, and the
signature over these, both in base64. So the sign agent signs what it always signs, with a signing time it has checked itself,
and nobody can have it sign a record of yesterday. A record names the segments that changed since the one before; through
``prev`` it vouches for all of them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.edge.observe import rfc3339
from gateway.edge.tosign import input_to_sign
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import CONTENT_TYPE, DATA, MESSAGE_DIGEST, SIGNING_TIME
from gateway.smime.keys import Mechanism
from gateway.smime.mechanisms import verify
from gateway.smime.signedattributes import written_digest

HEADS_FILE: Final = "heads.signed"
HEADS_VERSION: Final = 1
MECHANISM: Final = Mechanism.RSA_PKCS1_SHA256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a segment: its last line's ``seq``, and the SHA-256 of that line without its line end, in hex."""

    file: str
    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class HeadsRecord:
    """What is signed. ``at`` in microseconds UTC; ``prev`` the SHA-256 (hex) of the whole line before, 64 zeros in the first."""

    seq: int
    prev: str
    at: int
    key: str
    heads: tuple[Head, ...]

    def content(self) -> bytes:
        """The first field of the line."""
        facts = {
            "v": HEADS_VERSION,
            "seq": self.seq,
            "prev": self.prev,
            "at": rfc3339(self.at),
            "at_us": self.at,
            "key": self.key,
            "heads": [[head.file, head.seq, head.digest] for head in self.heads],
        }
        return json.dumps(facts, ensure_ascii=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class SignedHeads:
    """A record with its signature."""

    record: HeadsRecord
    content: bytes
    attributes: bytes
    signature: bytes

    def line(self) -> bytes:
        """As it stands in the file, without its line end."""
        return b"\t".join((self.content, base64.b64encode(self.attributes), base64.b64encode(self.signature)))

    def check(self, key: rsa.RSAPublicKey) -> None:
        """Returns where the signature is good and made at the time that is told. Raises :class:`GatewayError` otherwise."""
        input_to_sign(self.attributes, MECHANISM, self.record.at)
        if written_digest(self.attributes) != hashlib.sha256(self.content).digest():
            raise GatewayError(Reason.OWN_WORK_WRONG, "signed for another content")
        verify(key, self.attributes, self.signature, MECHANISM)


def line_digest(line: bytes) -> str:
    """SHA-256 of a line without its line end, in hex."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def attributes_for(content: bytes, at: int) -> bytes:
    """The SignedAttributes (RFC 5652 5.3, DER of a SET) over ``content``; ``at`` in microseconds UTC."""
    return der.set_of(
        der.sequence(der.oid(CONTENT_TYPE), der.set_of(der.oid(DATA))),
        der.sequence(der.oid(MESSAGE_DIGEST), der.set_of(der.octet_string(hashlib.sha256(content).digest()))),
        der.sequence(der.oid(SIGNING_TIME), der.set_of(der.time(at))),
    )


def read_heads(line: bytes) -> SignedHeads:
    """A line of the file. Raises ``ValueError`` for what is none."""
    content, *coded = line.rstrip(b"\n").split(b"\t")
    if len(coded) != 2:
        raise ValueError("not three fields")
    try:
        attributes, signature = (base64.b64decode(field, validate=True) for field in coded)
        facts: dict[str, Any] = json.loads(content)
        heads = tuple(Head(str(file), int(seq), str(digest)) for file, seq, digest in facts["heads"])
        at = (datetime.fromisoformat(facts["at"]) - _EPOCH) // timedelta(microseconds=1)
        record = HeadsRecord(int(facts["seq"]), str(facts["prev"]), at, str(facts["key"]), heads)
    except (binascii.Error, KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a record of heads") from error
    if record.content() != content:
        raise ValueError("not written as we write it")
    return SignedHeads(record, content, attributes, signature)


def load_audit_key(path: Path) -> rsa.RSAPublicKey:
    """The public half of an audit key, from a PEM file. Raises ``OSError``, ``ValueError``."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError(f"{path}: not an RSA public key")  # noqa: TRY004 - what a file holds, not what a caller gave
    return key


def whole_lines(data: bytes) -> Sequence[bytes]:
    """The lines that were written to their end."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]]
