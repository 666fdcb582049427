"""What happens around certificates: found, learned, fetched, doubted."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateHarvested(Event):
    """A verified mail showed a certificate of its author, ``address``; it is used from now on. ``fingerprint``: SHA-256 (hex)."""

    address: str
    fingerprint: str
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateWaiting(CertificateHarvested):
    """The same, not used before a person approves it: other than before is its ``key``, ``organisation`` or ``assurance``."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateChanged(Event):
    """A person, ``who``, as the user ``uid``, did ``operation``: ``pin``, ``import``, ``approve`` or ``forget``."""

    address: str
    fingerprint: str
    operation: str
    who: str
    uid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailed(Event):
    """A CRL, an OCSP answer, a certificate, a directory or our own state could not be read: ``kind`` says which, ``result`` how it
    ended. ``source`` is its URL without credentials, or the name of the directory or of the file.
    """

    kind: str
    result: str = ""
    source: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(Event):
    """A CRL, an OCSP answer or a certificate came from its publisher: ``kind`` says which, ``source`` is its URL."""

    kind: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationStale(Event):
    """A certificate is believed though what is known of its revocation is out of date: the grace still lasts. ``kind`` is the
    purpose, ``zone`` empty outside of all.
    """

    kind: str
    zone: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShared(Event):
    """Certificates that name different organisations have one public key: one of them can read, or sign, for the other."""

    subject: str
    other: str
