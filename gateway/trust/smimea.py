"""What a domain says of its certificates in DNS (RFC 8162, which takes its records from RFC 6698)."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gateway.trust.certificate import MAX_CERTIFICATE, CertificateError, public_key_info

_HASHED: Final = 28  # octets of the SHA-256 that a name keeps (RFC 8162 3)


class Usage(IntEnum):
    """What a record names (RFC 6698 2.1.1, with the words of RFC 7218)."""

    PKIX_TA = 0
    PKIX_EE = 1
    DANE_TA = 2
    DANE_EE = 3


class Selector(IntEnum):
    """Which part of the certificate it names (RFC 6698 2.1.2)."""

    CERTIFICATE = 0
    PUBLIC_KEY = 1


class Matching(IntEnum):
    """How it names it (RFC 6698 2.1.3)."""

    EXACT = 0
    SHA256 = 1
    SHA512 = 2


_ENTITIES: Final = frozenset({Usage.PKIX_EE, Usage.DANE_EE})
_DIGEST_SIZES: Final = {Matching.SHA256: 32, Matching.SHA512: 64}


@dataclass(frozen=True, slots=True)
class Association:
    """One SMIMEA record."""

    usage: Usage
    selector: Selector
    matching: Matching
    data: bytes

    @property
    def certificate(self) -> bytes | None:
        """The whole certificate (DER) where the record holds it."""
        whole = self.selector is Selector.CERTIFICATE and self.matching is Matching.EXACT
        return self.data if whole else None

    def names(self, path: Sequence[bytes]) -> bool:
        """Whether it names a certificate of ``path`` (DER, anchor first, leaf last) in the place its usage means."""
        leaf = self.usage in _ENTITIES
        return any(self._matches(certificate) for certificate in (path[-1:] if leaf else path[:-1]))

    def _matches(self, certificate: bytes) -> bool:
        try:
            part = certificate if self.selector is Selector.CERTIFICATE else public_key_info(certificate)
        except CertificateError:
            return False  # a key we cannot read serves nobody, whatever names it
        if self.matching is Matching.SHA256:
            return hashlib.sha256(part).digest() == self.data
        if self.matching is Matching.SHA512:
            return hashlib.sha512(part).digest() == self.data
        return part == self.data


def named_as(associations: Iterable[Association], usage: Usage, path: Sequence[bytes]) -> bool:
    """Whether one of them with ``usage`` names a certificate of ``path``: see :meth:`Association.names`."""
    return any(each.usage is usage and each.names(path) for each in associations)


def association(usage: int, selector: int, matching: int, data: bytes) -> Association:
    """A record's fields. Raises ValueError where the record is unusable (RFC 6698 4): unknown numbers, a digest of another size."""
    record = Association(Usage(usage), Selector(selector), Matching(matching), data)
    if len(data) > MAX_CERTIFICATE or len(data) != _DIGEST_SIZES.get(record.matching, len(data)) or not data:
        raise ValueError("its data are of another size")
    return record


def local_label(local: str) -> str:
    """The leftmost label for a local part as mail writes it (RFC 8162 3).

    Without quotes, in NFC, and in the case it was written in: which spellings are one mailbox is for the domain to say, which may
    publish each (RFC 8162 4); another mailbox's key would open the mail.
    """
    if local.startswith('"'):
        local = _unquoted(local[1:-1])
    return hashlib.sha256(unicodedata.normalize("NFC", local).encode()).digest()[:_HASHED].hex()


def _unquoted(text: str) -> str:
    """Without the backslashes of quoted pairs (RFC 5321 4.1.2)."""
    letters = iter(text)
    return "".join(next(letters, "") if letter == "\\" else letter for letter in letters)
