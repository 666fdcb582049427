"""``zones/NAME.toml``: a trust zone and its peers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from gateway.config.encryption import Opens
from gateway.config.kinds import (
    CertificateFile,
    DirectoryName,
    DistinguishedName,
    Domain,
    GraceHours,
    Host,
    Oid,
    Port,
    Sources,
    TlsName,
)
from gateway.config.numbers import Retry
from gateway.config.revocation import ZoneRevocationOf
from gateway.config.section import Section
from gateway.config.urls import CrlUrls
from gateway.config.words import ClientUsage, Revocation, Stapling, TlsMode
from gateway.trust.ladder import AfterInvalid, Rung
from gateway.trust.rules import Issuers


class ZonePeer(Section):
    """``[[peer]]`` of a zone: another gateway. ``names`` are DNS names its certificate must show (one is enough), ``dn`` the full
    subject (RFC 4514); at least one of the two, and if both are given both must hold. ``client_usage``: what it may show when it
    connects to us.
    """

    name: str
    domains: tuple[Domain, ...] = Field(min_length=1)
    host: Host
    port: Port = 465
    tls: Literal[TlsMode.IMPLICIT, TlsMode.STARTTLS] = TlsMode.IMPLICIT
    names: tuple[Domain, ...] = ()
    dn: DistinguishedName | None = None
    client_usage: ClientUsage = ClientUsage.CLIENT_AUTH
    opens: Opens | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.names and self.dn is None:
            raise ValueError("give names or dn, else any certificate of the zone would be this peer")
        return self


class Zone(Section):
    """``zones/NAME.toml``: a trust zone. ``inbound_anchors`` are believed in place of ``anchors`` for people who signed what comes
    in; ``identity`` names the [tls] section we show as a client; ``source`` are addresses of ours to connect from. ``retry`` is for
    the mail to its peers, in place of the general one. ``least_trust`` is the lowest rung of the ladder of trust from which a
    certificate is taken; ``after_invalid``, whether a source that has only invalid ones is the last. ``stapling``: whether its
    peers are asked for an OCSP answer when we connect to them.
    """

    anchors: CertificateFile
    inbound_anchors: CertificateFile | None = None
    identity: TlsName
    revocation: Revocation = Revocation.HARD
    revocation_of: ZoneRevocationOf = ZoneRevocationOf()
    stapling: Stapling = Stapling.UNASKED
    revocation_grace_hours: GraceHours = 0.0
    policies: tuple[Oid, ...] = ()
    issuers: Issuers = Issuers.GIVEN
    crls: CrlUrls = ()
    directories: tuple[DirectoryName, ...] = ()
    least_trust: Rung = Rung.VERIFIED
    after_invalid: AfterInvalid = AfterInvalid.STOP
    source: Sources = ()
    retry: Retry | None = None
    peer: tuple[ZonePeer, ...] = ()
