"""The words a configuration may choose from."""

from __future__ import annotations

from enum import StrEnum


class KeyPurpose(StrEnum):
    """One key, one purpose."""

    SIGN = "sign"
    DECRYPT = "decrypt"
    SPOOL = "spool"
    AUDIT = "audit"


class KeyStore(StrEnum):
    """Where a private key lives."""

    TOKEN = "token"  # noqa: S105 - the name of a place
    FILE = "file"
    OFFLINE = "offline"  # where no process of ours can use it


class TlsMode(StrEnum):
    """How TLS begins on a connection."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class ClientUsage(StrEnum):
    """What the certificate must be meant for that a peer shows when it connects to us (RFC 5280 4.2.1.12)."""

    CLIENT_AUTH = "client-auth"
    SERVER_AUTH_ALLOWED = "server-auth-allowed"


class Stapling(StrEnum):
    """Whether the peers of a zone are asked for an OCSP answer in the handshake (RFC 6066 8)."""

    ASKED = "asked"
    UNASKED = "unasked"


class RouteKind(StrEnum):
    """How the next hop is found."""

    HOST = "host"
    MX = "mx"


class Unopened(StrEnum):
    """What to do with inbound mail that was not opened."""

    HOLD = "hold"
    DELIVER = "deliver"


class Revocation(StrEnum):
    """What an unknown revocation status means: never trusted, trusted but marked, not asked at all."""

    HARD = "hard"
    SOFT = "soft"
    UNSAFE_OFF = "unsafe_off"


class DirectoryKind(StrEnum):
    """What kind of place certificates are looked up in."""

    FOLDER = "folder"
    LDAP = "ldap"
    LDAP_SRV = "ldap-srv"
    SMIMEA = "smimea"
    CERT = "cert"

    @property
    def in_dns(self) -> bool:
        """Whether DNS is asked."""
        return self in {DirectoryKind.LDAP_SRV, DirectoryKind.SMIMEA, DirectoryKind.CERT}


class Dnssec(StrEnum):
    """What an answer without DNSSEC counts for."""

    REQUIRED = "required"
    UNNEEDED = "unneeded"


class AdFrom(StrEnum):
    """Which resolvers are believed when they say that an answer was validated."""

    LOOPBACK = "loopback"
    RESOLVERS = "resolvers"


class LineEnds(StrEnum):
    """What becomes of a message with bare CR or LF."""

    REFUSE = "refuse"
    NORMALISE = "normalise"


class Protection(StrEnum):
    """What a rule asks for. Plaintext is only ever had under the name ``unprotected``."""

    BOTH = "both"
    SIGN = "sign"
    ENCRYPT = "encrypt"
    UNPROTECTED = "unprotected"


class Missing(StrEnum):
    """What becomes of a recipient without a usable certificate. ``unprotected`` makes the rule opportunistic."""

    REFUSE = "refuse"
    HOLD = "hold"
    DEFER = "defer"
    UNPROTECTED = "unprotected"


class Mode(StrEnum):
    """Whether a rule does what it asks for, or lets the mail out as it is and only records what it would have done."""

    ENFORCE = "enforce"
    OBSERVE = "observe"
