"""Which algorithms may prove something, and at what time: one table for certificates, CRLs and OCSP answers alike."""

from __future__ import annotations

import datetime as dt
from typing import Final

from gateway.trust.certificate import CertificateFacts
from gateway.trust.moment import microseconds
from gateway.trust.publickey import PublicKey

MIN_RSA: Final = 2048
MAX_RSA: Final = 8192
MAX_EXPONENT: Final = 1 << 64  # larger ones cost time and serve nobody
CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"})

_END_OF_2013: Final = microseconds(dt.datetime(2014, 1, 1, tzinfo=dt.UTC))  # NIST SP 800-131A 3 and 9
_MIN_RSA_THEN: Final = 1024
_ALWAYS: Final = 1 << 63

# Digests under a signature, and until when. Only who asks about that time by hand (``message open --at``) is told of it.
_HASHES_UNTIL: Final = {"sha1": _END_OF_2013} | dict.fromkeys(
    ("sha224", "sha256", "sha384", "sha512", "sha512-224", "sha512-256", "sha3-224", "sha3-256", "sha3-384", "sha3-512"), _ALWAYS
)


def era(at: int) -> int:
    """A number that changes when the table does: what was found in one era is not taken over into another."""
    return int(at >= _END_OF_2013)


def strong_hash(name: str, at: int) -> bool:
    """Whether a signature over this digest (the library's name; "" where the scheme has its own) counts at ``at``."""
    return not name or at < _HASHES_UNTIL.get(name, 0)


def weak_signature(certificate: CertificateFacts, at: int) -> str | None:
    """Why what the issuer signed ``certificate`` with proves nothing at ``at`` (microseconds UTC); None where it does."""
    if certificate.signature_known and strong_hash(certificate.signature_hash, at):
        return None
    return f"signed with {certificate.signature_hash or 'an unknown algorithm'}"


def weak_key(key: PublicKey, at: int) -> str | None:
    """Why ``key`` proves nothing at ``at`` (microseconds UTC); None where it does."""
    least = MIN_RSA if at >= _END_OF_2013 else _MIN_RSA_THEN
    if key.kind == "rsa" and not (least <= key.bits <= MAX_RSA and 3 <= key.exponent < MAX_EXPONENT):
        return f"RSA key of {key.bits} bits"
    if key.kind in {"ec", "ecdh"} and key.curve not in CURVES:
        return f"curve {key.curve or 'not named'}"
    return None
