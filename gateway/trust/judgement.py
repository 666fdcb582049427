"""What ``judge`` answers, and for what purpose it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from gateway.outcome import Reason


class Purpose(StrEnum):
    """What a certificate is to be believed for; each has its own rules."""

    SMIME_SIGNER = "smime-signer"
    SMIME_RECIPIENT = "smime-recipient"
    GATEWAY_CLIENT = "gateway-client"
    GATEWAY_SERVER = "gateway-server"
    LIST_SIGNER = "list-signer"
    CRL_SIGNER = "crl-signer"

    @property
    def of_gateways(self) -> bool:
        """Whether it is about a gateway, on one side of TLS, and not about a person or an organisation."""
        return self in {Purpose.GATEWAY_CLIENT, Purpose.GATEWAY_SERVER}


class Assurance(StrEnum):
    """On whose word an identity stands, best first."""

    ZONE = "zone"
    PINNED = "pinned"
    PUBLIC_CA = "public-ca"
    HARVESTED = "harvested"


class Revocation(StrEnum):
    """What an unknown revocation status means: never trusted, trusted but marked, not asked at all."""

    HARD = "hard"
    SOFT = "soft"
    UNSAFE_OFF = "unsafe_off"


@dataclass(frozen=True, slots=True)
class Trusted:
    """Believed. ``path`` is DER, anchor first, leaf last; ``marks`` are reasons that do not deny trust (REVOCATION_UNKNOWN
    under ``soft``).
    """

    path: tuple[bytes, ...]
    marks: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Distrusted:
    """Not believed, and why. ``detail`` is for the administrator. ``later``: why that may be otherwise by and by, by itself."""

    reason: Reason
    detail: str = ""
    later: Reason | None = None


class NeedKind(StrEnum):
    """What is to be fetched."""

    CRL = "crl"
    OCSP = "ocsp"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to be fetched from ``url`` (``http``, ``https`` or ``ldap``), which stands in a certificate.

    ``issuer`` is DER: of a CRL or an OCSP answer the authority that must have made it, which leads to an anchor; of certificates
    the one whose issuer is looked for. It is empty for a CRL at a place an administrator named: whoever made it, ``judge`` finds
    out. ``request`` is the OCSPRequest (DER, RFC 6960 4.1), empty for the others.
    """

    kind: NeedKind
    url: str
    issuer: bytes
    request: bytes = b""

    @property
    def source(self) -> str:
        """The URL without user, password and query: for audit and people."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            return "a URL that is none"
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@dataclass(frozen=True, slots=True)
class Needs:
    """Cannot say before these have been fetched, or have failed and are known as failed."""

    needs: tuple[Need, ...]


Judgement = Trusted | Distrusted | Needs
