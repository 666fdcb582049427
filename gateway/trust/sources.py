"""The ports through which evidence comes: directories of certificates, and publishers of CRLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.mail.address import Address
from gateway.outcome import GatewayError, Reason
from gateway.trust.revocation import Crl, CrlFailed


class DirectoryError(GatewayError):
    """A directory could not be asked. ``resting`` where nobody tried: it failed a moment ago, or is no longer in force."""

    def __init__(self, detail: str, *, resting: bool = False) -> None:
        super().__init__(Reason.DIRECTORY_UNAVAILABLE, detail)
        self.resting = resting


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory holds for an address: candidates for it and its domain, and authorities that may lie above them (DER).

    Found, not believed: whether a candidate names the address is asked of the certificate.
    """

    certificates: tuple[bytes, ...] = ()
    others: tuple[bytes, ...] = ()


class Directory(Protocol):
    """A place certificates are looked up in."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def remember_seconds(self) -> float:
        """For how long an answer may be used again; 0 where asking costs nothing."""

    async def find(self, address: Address, /) -> Found:
        """Everything for ``address`` and for its whole domain. Raises :class:`DirectoryError`."""


class CrlSource(Protocol):
    """Where CRLs come from."""

    def current(self, url: str, at: int, /) -> Crl | CrlFailed | None:
        """What is known about ``url`` without asking; None where it is time to ask. Costs next to nothing."""

    async def fetch(self, url: str, issuer: bytes, at: int, /) -> Crl | CrlFailed:
        """The CRL at ``url``, signed by ``issuer`` (DER): fresh, or the last one while it is not out of date."""
