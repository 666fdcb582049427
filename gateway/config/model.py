"""The frozen tree. Every section of ``gateway.toml`` and ``zones/*.toml`` is one class; an unknown key is a mistake.

Names in the file (``[key.NAME]``, ``[listener.NAME]`` ...) are how sections refer to each other; ``load`` checks that each
reference leads somewhere. Paths are absolute once loaded: relative ones are taken from the file that holds them.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.config.kinds import (
    CertificateFile,
    DirectoryName,
    Domain,
    File,
    Folder,
    Host,
    KeyName,
    Mailbox,
    Megabytes,
    Network,
    Numeric,
    OrganisationName,
    Pattern,
    Port,
    PresentFile,
    RouteName,
    RsaKeyFile,
    RuleName,
    TextFile,
    TlsKeyFile,
    TlsName,
    ZoneName,
    ZonePattern,
)
from gateway.mail.envelope import Direction, Role


class Section(BaseModel):
    """What every section is: frozen, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Secret(Section):
    """Where a secret comes from: exactly one of a file, an environment variable, a systemd credential."""

    file: PresentFile | None = None
    environment: str | None = None
    credential: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.file, self.environment, self.credential)) != 1:
            raise ValueError("give exactly one of file, environment, credential")
        return self


class Token(Section):
    """The PKCS#11 token. ``environment`` is set for the key agents alone (``SOFTHSM2_CONF`` and the like)."""

    module: PresentFile
    label: str
    pin: Secret
    environment: dict[str, str] = {}


class KeyPurpose(StrEnum):
    """One key, one purpose."""

    SIGN = "sign"
    DECRYPT = "decrypt"
    SPOOL = "spool"


class KeyStore(StrEnum):
    """Where a private key lives."""

    TOKEN = "token"  # noqa: S105 - the name of a place
    FILE = "file"


class Key(Section):
    """A private key. Its name is its token label. ``addresses`` binds it to mailboxes; empty means the whole organisation.

    ``certificate`` is a PEM file (leaf first, then intermediates) and is required but for spool keys, which need only the
    public key: a PEM ``public_key``. ``file`` (PEM or PKCS#12) and ``passphrase`` are for the file store.
    """

    purpose: KeyPurpose
    organisation: OrganisationName | None = None
    store: KeyStore = KeyStore.TOKEN
    certificate: CertificateFile | None = None
    public_key: RsaKeyFile | None = None
    file: PresentFile | None = None
    passphrase: Secret | None = None
    addresses: tuple[Mailbox, ...] = ()
    retired: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.store is KeyStore.FILE) != (self.file is not None):
            raise ValueError("file is for store = 'file', and required there")
        if self.purpose is KeyPurpose.SPOOL:
            if self.public_key is None or self.organisation is not None:
                raise ValueError("a spool key has a public_key and no organisation")
        elif self.certificate is None or self.organisation is None:
            raise ValueError("certificate and organisation are required")
        return self


class TlsMode(StrEnum):
    """How TLS begins on a connection."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class TlsIdentity(Section):
    """``[tls.NAME]``: a TLS certificate (PEM, leaf first) and its key file; never a key used for mail."""

    certificate: CertificateFile
    key: TlsKeyFile


class Listener(Section):
    """``[listener.NAME]``: where we accept SMTP, and from whom. ``zone`` belongs to the role ``zone`` and is required there."""

    address: Numeric
    port: Annotated[int, Field(ge=0, le=65535)]
    role: Role
    tls: TlsMode = TlsMode.NONE
    identity: TlsName | None = None
    zone: ZoneName | None = None
    organisation: OrganisationName | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.tls is not TlsMode.NONE) != (self.identity is not None):
            raise ValueError("identity names the [tls] section, and belongs to tls = 'starttls' or 'implicit'")
        if (self.role is Role.ZONE) != (self.zone is not None):
            raise ValueError("zone is for role = 'zone', and required there")
        if self.role is Role.ZONE and self.tls is TlsMode.NONE:
            raise ValueError("a zone listener needs tls = 'starttls' or 'implicit'")
        if (self.role is Role.STRANGER) != (self.organisation is not None):
            raise ValueError("organisation is for role = 'stranger', and required there")
        return self


class Client(Section):
    """``[client.NAME]``: one of our own mail servers, known by its network, and the domains it may sign for."""

    networks: tuple[Network, ...] = Field(min_length=1)
    organisation: OrganisationName
    may_send_for: tuple[Domain, ...] = Field(min_length=1)
    require_tls: bool = False


class RouteKind(StrEnum):
    """How the next hop is found."""

    HOST = "host"
    MX = "mx"


class Route(Section):
    """``[route.NAME]``: a next hop. ``anchors`` is a PEM file its certificate must lead to; without it the system's own list."""

    kind: RouteKind = RouteKind.HOST
    host: Host | None = None
    port: Port = 25
    tls: TlsMode = TlsMode.NONE
    anchors: CertificateFile | None = None
    identity: TlsName | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind is RouteKind.HOST) != (self.host is not None):
            raise ValueError("host is for kind = 'host', and required there")
        return self


class Recipients(Section):
    """How our recipients are known before 250: a file of addresses and ``@domain`` lines, or call-forward to the mail server."""

    source: Literal["call-forward", "list"] = "call-forward"
    file: TextFile | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.source == "list") != (self.file is not None):
            raise ValueError("file is for source = 'list', and required there")
        return self


class Unopened(StrEnum):
    """What to do with inbound S/MIME that could not be opened."""

    HOLD = "hold"
    DELIVER = "deliver"


class Inbound(Section):
    """What an inbound verdict means for an organisation."""

    unopened: Unopened = Unopened.HOLD
    signature: Literal["strip", "keep"] = "strip"


class Revocation(StrEnum):
    """What an unknown revocation status means: never trusted, trusted but marked, not asked at all."""

    HARD = "hard"
    SOFT = "soft"
    UNSAFE_OFF = "unsafe_off"


class Organisation(Section):
    """``[organisation.NAME]``: the first noun. ``mail_server`` is the route in, ``outbound`` the route to all who are in no zone.

    ``anchors`` (PEM) are believed for people outside every zone; ``directories`` are asked for their certificates in order.
    """

    domains: tuple[Domain, ...] = Field(min_length=1)
    mail_server: RouteName
    outbound: RouteName | None = None
    anchors: CertificateFile | None = None
    revocation: Revocation = Revocation.SOFT
    directories: tuple[DirectoryName, ...] = ()
    recipients: Recipients = Recipients()
    inbound: Inbound = Inbound()


class DirectoryKind(StrEnum):
    """What kind of place certificates are looked up in."""

    FOLDER = "folder"
    LDAP = "ldap"


class Directory(Section):
    """``[directory.NAME]``: a folder of certificates (PEM or DER files), or an LDAP server (``ldap://`` or ``ldaps://``)."""

    kind: DirectoryKind
    path: Folder | None = None
    uri: str | None = None
    base: str = ""
    starttls: bool = False
    anchors: CertificateFile | None = None
    bind_dn: str | None = None
    password: Secret | None = None
    deadline_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind is DirectoryKind.FOLDER) != (self.path is not None):
            raise ValueError("path is for kind = 'folder', and required there")
        if (self.kind is DirectoryKind.LDAP) != (self.uri is not None):
            raise ValueError("uri is for kind = 'ldap', and required there")
        if (self.bind_dn is None) != (self.password is None):
            raise ValueError("bind_dn and password belong together")
        return self


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


class HeaderTrigger(Section):
    """A header field that must be there and, where ``contains`` is given, hold that text in any case."""

    name: Annotated[str, Field(pattern=r"^[!-9;-~]+$")]
    contains: str = ""


class When(Section):
    """All that is given must hold. Addresses are ``local@domain``, ``@domain`` or ``@*.domain``; ``zone = '*'`` is any zone.

    ``sender`` is the reverse-path. ``zone`` is the recipient's, or for inbound mail that of the peer that brought it. Without
    ``direction`` a rule is about outbound mail.
    """

    direction: Literal[Direction.OUTBOUND, Direction.INBOUND] | None = None
    organisation: OrganisationName | None = None
    sender: tuple[Pattern, ...] = ()
    recipient: tuple[Pattern, ...] = ()
    zone: ZonePattern | None = None
    header: HeaderTrigger | None = None
    subject: str | None = None


class Rule(Section):
    """``[[rule]]``: the first whose ``when`` holds decides."""

    name: RuleName
    when: When = When()
    protect: Protection
    missing: Missing = Missing.REFUSE

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.when.direction is Direction.INBOUND and self.protect is not Protection.UNPROTECTED:
            raise ValueError("an inbound rule can only say protect = 'unprotected': leave this mail alone")
        return self


class ZonePeer(Section):
    """``[[peer]]`` of a zone: another gateway. ``names`` are DNS names its certificate must show (one is enough), ``dn`` the full
    subject (RFC 4514); at least one of the two, and if both are given both must hold.
    """

    name: str
    domains: tuple[Domain, ...] = Field(min_length=1)
    host: Host
    port: Port = 465
    tls: Literal[TlsMode.IMPLICIT, TlsMode.STARTTLS] = TlsMode.IMPLICIT
    names: tuple[Domain, ...] = ()
    dn: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.names and self.dn is None:
            raise ValueError("give names or dn, else any certificate of the zone would be this peer")
        return self


class Zone(Section):
    """``zones/NAME.toml``: a trust zone. ``identity`` names the [tls] section we show as a client."""

    anchors: CertificateFile
    identity: TlsName
    revocation: Revocation = Revocation.HARD
    directories: tuple[DirectoryName, ...] = ()
    peer: tuple[ZonePeer, ...] = ()


class Limits(Section):
    """Named limits; what each guards is in docs/limits.md."""

    message_megabytes: Megabytes = 50
    recipients: Annotated[int, Field(ge=1, le=10000)] = 1000
    connections: Annotated[int, Field(ge=1)] = 500
    connections_per_address: Annotated[int, Field(ge=1)] = 50
    command_seconds: Annotated[float, Field(gt=0)] = 300.0
    message_seconds: Annotated[float, Field(gt=0)] = 1800.0
    errors: Annotated[int, Field(ge=1)] = 10
    received: Annotated[int, Field(ge=1)] = 50
    free_megabytes: Annotated[int, Field(ge=0)] = 200


class Retry(Section):
    """When a deferred mail is tried again, and when it is given up."""

    first_seconds: Annotated[float, Field(gt=0)] = 60.0
    longest_seconds: Annotated[float, Field(gt=0)] = 3600.0
    give_up_hours: Annotated[float, Field(gt=0)] = 120.0


class Processes(Section):
    """How many of each; 0 workers means one for each core."""

    workers: Annotated[int, Field(ge=0, le=64)] = 0
    sign_agents: Annotated[int, Field(ge=1, le=64)] = 1
    unwrap_agents: Annotated[int, Field(ge=1, le=64)] = 1


class Endpoint(Section):
    """Where metrics are served over HTTP."""

    address: Numeric = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class Fetching(Section):
    """Limits of what we fetch because a certificate says so. ``allow_private`` lists networks of our own that serve CRLs."""

    allow_private: tuple[Network, ...] = ()
    deadline_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    megabytes: Megabytes = 20


class Config(Section):
    """The whole tree."""

    hostname: Domain
    state: File
    run: File
    spool_key: KeyName
    token: Token | None = None
    organisation: dict[str, Organisation] = Field(min_length=1)
    key: dict[str, Key] = Field(min_length=1)
    tls: dict[str, TlsIdentity] = {}
    listener: dict[str, Listener] = Field(min_length=1)
    client: dict[str, Client] = {}
    route: dict[str, Route] = Field(min_length=1)
    directory: dict[str, Directory] = {}
    rule: tuple[Rule, ...] = ()
    zone: dict[str, Zone] = {}
    limits: Limits = Limits()
    retry: Retry = Retry()
    processes: Processes = Processes()
    metrics: Endpoint = Endpoint()
    fetching: Fetching = Fetching()
    generation: int = 0

    @cached_property
    def owners(self) -> dict[str, str]:
        """Which organisation each of our domains belongs to."""
        return {domain: name for name, organisation in self.organisation.items() for domain in organisation.domains}

    @cached_property
    def peers(self) -> dict[str, tuple[str, str]]:
        """The zone and peer of each domain in a zone; of several zones the first in the configuration."""
        found: dict[str, tuple[str, str]] = {}
        for name, zone in self.zone.items():
            for peer in zone.peer:
                for domain in peer.domains:
                    found.setdefault(domain, (name, peer.name))
        return found
