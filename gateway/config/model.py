"""The frozen tree. Every section of ``gateway.toml`` and ``zones/*.toml`` is one class; an unknown key is a mistake.

Names in the file (``[key.NAME]``, ``[listener.NAME]`` ...) are how sections refer to each other; ``load`` checks that each
reference leads somewhere. Paths are absolute once loaded: relative ones are taken from the file that holds them.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.agents import Agents
from gateway.config.correspondents import Correspondents
from gateway.config.directory import Directory
from gateway.config.encryption import Floor, KnownReader, Opens, ReaderFile
from gateway.config.kinds import (
    CertificateFile,
    DirectoryName,
    Domain,
    File,
    GraceHours,
    KeyName,
    Mailbox,
    Oid,
    OrganisationName,
    PresentFile,
    RouteName,
    RsaKeyFile,
    RunFolder,
    TextFile,
    TlsKeyFile,
)
from gateway.config.listener import Client, Listener
from gateway.config.numbers import Endpoint, Fetching, Limits, Processes, Retry
from gateway.config.revocation import RevocationOf
from gateway.config.route import Route
from gateway.config.rule import HeaderTrigger, Rule, When
from gateway.config.section import Secret, Section
from gateway.config.urls import CrlUrls
from gateway.config.words import DirectoryKind, KeyPurpose, KeyStore, Missing, Protection, Revocation, RouteKind, TlsMode, Unopened
from gateway.config.zone import Zone, ZonePeer
from gateway.mail.address import parse_address
from gateway.mail.confidentiality import Headers
from gateway.mail.envelope import NextHop
from gateway.smime.keys import Mechanism
from gateway.smime.message import SignedForm
from gateway.trust.harvested import Harvesting
from gateway.trust.ladder import AfterInvalid, Rung
from gateway.trust.rules import Issuers

__all__ = [
    "Agents",
    "Client",
    "Config",
    "Directory",
    "DirectoryKind",
    "Endpoint",
    "Fetching",
    "Floor",
    "HeaderTrigger",
    "Inbound",
    "Key",
    "KeyPurpose",
    "KeyStore",
    "KnownReader",
    "Limits",
    "Listener",
    "Missing",
    "Opens",
    "Organisation",
    "Processes",
    "Protection",
    "Recipients",
    "Retry",
    "Revocation",
    "Route",
    "RouteKind",
    "Rule",
    "Secret",
    "Section",
    "TlsIdentity",
    "TlsMode",
    "Token",
    "Unopened",
    "When",
    "Zone",
    "ZonePeer",
]


class Token(Section):
    """The PKCS#11 token. ``environment`` is set for the key agents alone (``SOFTHSM2_CONF`` and the like)."""

    module: PresentFile
    label: str
    pin: Secret
    environment: dict[str, str] = Field(default_factory=dict)


class Key(Section):
    """A private key. Its name is its token label. ``addresses`` binds it to mailboxes; empty means the whole organisation.

    ``certificate`` is a PEM file (leaf first, then intermediates) and is required but for spool and audit keys, which need only
    the public key: a PEM ``public_key``. ``file`` (PEM or PKCS#12) and ``passphrase`` are for the file store. A spool key in the
    offline store is sealed to and never opens: the recovery key, while it is not needed. ``mechanism`` is what a key signs with,
    where that is not to be the one that every reader knows.
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
    mechanism: Mechanism | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mechanism is not None and self.purpose is not KeyPurpose.SIGN:
            raise ValueError("mechanism is for a key with purpose = 'sign'")
        if (self.store is KeyStore.FILE) != (self.file is not None):
            raise ValueError("file is for store = 'file', and required there")
        if self.store is KeyStore.OFFLINE and self.purpose is not KeyPurpose.SPOOL:
            raise ValueError("store = 'offline' is for a key with purpose = 'spool'")
        if self.purpose in (KeyPurpose.SPOOL, KeyPurpose.AUDIT):
            if self.public_key is None or self.organisation is not None:
                raise ValueError(f"a key for {self.purpose} has a public_key and no organisation")
        elif self.certificate is None or self.organisation is None:
            raise ValueError("certificate and organisation are required")
        return self


class TlsIdentity(Section):
    """``[tls.NAME]``: a TLS certificate (PEM, leaf first) and its key file; never a key used for mail."""

    certificate: CertificateFile
    key: TlsKeyFile


class Recipients(Section):
    """How our recipients are known before 250: a file of addresses and ``@domain`` lines, or call-forward to the mail server."""

    source: Literal["call-forward", "list"] = "call-forward"
    file: TextFile | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.source == "list") != (self.file is not None):
            raise ValueError("file is for source = 'list', and required there")
        return self


class Inbound(Section):
    """What an inbound verdict means for an organisation. ``revocation_wait_minutes``: how long a mail waits whose signer nobody can
    say is not revoked, where that is asked for (``revocation = "hard"``).
    """

    unopened: Unopened = Unopened.HOLD
    end_to_end: Unopened | None = None
    encrypted_part: Unopened = Unopened.DELIVER
    signature: Literal["strip", "keep"] = "strip"
    legacy: Literal["refuse", "read"] = "refuse"
    revocation_wait_minutes: Annotated[float, Field(ge=0, le=720)] = 60.0


class Organisation(Section):
    """``[organisation.NAME]``: the first noun. ``mail_server`` is the route in, ``outbound`` the route to all who are in no zone.

    ``anchors`` (PEM) are believed for people outside every zone, ``inbound_anchors`` in their place for who signed what comes in;
    ``directories`` are asked for their certificates in order.
    ``harvest``: what becomes of the certificates that verified mail shows of its authors.
    Every encrypted copy is to the certificates of ``archive`` too, and ``to_sender`` to that of our key for the From.
    ``headers``, ``legacy_display``, ``signed_form`` and ``least_trust`` are for rules that say nothing of them.
    """

    domains: tuple[Domain, ...] = Field(min_length=1)
    mail_server: RouteName
    outbound: RouteName | None = None
    anchors: CertificateFile | None = None
    inbound_anchors: CertificateFile | None = None
    revocation: Revocation = Revocation.SOFT
    revocation_of: RevocationOf = RevocationOf()
    revocation_grace_hours: GraceHours = 0.0
    policies: tuple[Oid, ...] = ()
    issuers: Issuers = Issuers.GIVEN
    crls: CrlUrls = ()
    directories: tuple[DirectoryName, ...] = ()
    least_trust: Rung = Rung.VERIFIED
    after_invalid: AfterInvalid = AfterInvalid.STOP
    correspondents: tuple[Correspondents, ...] = ()
    recipients: Recipients = Recipients()
    inbound: Inbound = Inbound()
    harvest: Harvesting = Harvesting.APPROVE
    floor: Floor = Floor()
    reader: tuple[KnownReader, ...] = ()
    archive: tuple[ReaderFile, ...] = ()
    to_sender: bool = False
    headers: Headers = Headers.BASELINE
    legacy_display: bool = False
    signed_form: SignedForm = SignedForm.CLEAR

    @model_validator(mode="after")
    def _anchored(self) -> Self:
        if self.inbound_anchors is not None and self.anchors is None:
            raise ValueError("inbound_anchors stand beside anchors, which are for whom we encrypt to")
        return self


class Config(Section):
    """The whole tree."""

    hostname: Domain
    state: File
    run: RunFolder
    spool_key: KeyName
    recovery_key: KeyName | None = None
    audit_key: KeyName | None = None
    token: Token | None = None
    organisation: dict[str, Organisation] = Field(min_length=1)
    key: dict[str, Key] = Field(min_length=1)
    tls: dict[str, TlsIdentity] = Field(default_factory=dict)
    listener: dict[str, Listener] = Field(min_length=1)
    client: dict[str, Client] = Field(default_factory=dict)
    route: dict[str, Route] = Field(min_length=1)
    directory: dict[str, Directory] = Field(default_factory=dict)
    rule: tuple[Rule, ...] = ()
    zone: dict[str, Zone] = Field(default_factory=dict)
    limits: Limits = Limits()
    retry: Retry = Retry()
    processes: Processes = Processes()
    agents: Agents | None = None
    metrics: Endpoint = Endpoint()
    fetching: Fetching = Fetching()
    generation: int = 0

    @property
    def key_state(self) -> Path:
        """What of the key agents must outlive a restart."""
        return self.state if self.agents is None else self.agents.state

    @property
    def key_run(self) -> Path:
        """The directory of the key agents' sockets."""
        return self.run if self.agents is None else self.agents.run

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

    @cached_property
    def peer_opens(self) -> dict[str, Opens]:
        """What is known of the programs behind each domain in a zone, where something is."""
        known = {(name, peer.name): peer.opens for name, zone in self.zone.items() for peer in zone.peer}
        return {domain: opens for domain, peer in self.peers.items() if (opens := known[peer]) is not None}

    @cached_property
    def keys_in_use(self) -> dict[tuple[str, KeyPurpose], dict[str, str]]:
        """The keys of each organisation for each purpose, by whose they are: ``Address.key``, "" for the whole organisation.

        None that is retired; of several the first in the configuration.
        """
        found: dict[tuple[str, KeyPurpose], dict[str, str]] = {}
        for name, key in self.key.items():
            if key.organisation is not None and not key.retired:
                for owner in [parse_address(text).key for text in key.addresses] or [""]:
                    found.setdefault((key.organisation, key.purpose), {}).setdefault(owner, name)
        return found

    def retry_for(self, hop: NextHop | None) -> Retry:
        """The schedule of a mail whose next hop is ``hop``."""
        zone = self.zone.get(hop.zone) if hop is not None and hop.zone is not None else None
        return zone.retry if zone is not None and zone.retry is not None else self.retry

    def listener_at(self, address: str, port: int, *, own: bool) -> str | None:
        """The name of our listener at ``port`` of ``address``. ``own``: the address is one of this machine, so that a listener on
        every address is meant too.
        """
        for name, listener in self.listener.items():
            if listener.port == port and (listener.address == address or (own and ip_address(listener.address).is_unspecified)):
                return name
        return None
