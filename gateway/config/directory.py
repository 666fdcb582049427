"""Where certificates of correspondents are looked up."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.config.kinds import CertificateFile, Folder, Numeric, Port, TlsName
from gateway.config.section import Secret, Section
from gateway.config.urls import LdapUri
from gateway.config.words import AdFrom, DirectoryKind, Dnssec


class Directory(Section):
    """``[directory.NAME]``: a folder of certificates (PEM or DER files), an LDAP server (``ldap://`` or ``ldaps://``), or what the
    recipient's domain publishes in DNS.

    ``resolvers`` are name servers, those of the system where there are none. What they say of DNSSEC is believed of those on
    loopback, of all of them where ``trust_ad`` says so.
    """

    kind: DirectoryKind
    path: Folder | None = None
    uri: LdapUri | None = None
    base: str = ""
    starttls: bool = False
    anchors: CertificateFile | None = None
    bind_dn: str | None = None
    password: Secret | None = None
    identity: TlsName | None = None
    resolvers: tuple[Numeric, ...] = ()
    resolver_port: Port = 53
    dnssec: Dnssec = Dnssec.UNNEEDED
    trust_ad: AdFrom = AdFrom.LOOPBACK
    deadline_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0

    @property
    def dnssec_required(self) -> bool:
        """SMIMEA records count only with DNSSEC (RFC 8162 1), whatever is configured."""
        return self.kind is DirectoryKind.SMIMEA or self.dnssec is Dnssec.REQUIRED

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind is DirectoryKind.FOLDER) != (self.path is not None):
            raise ValueError("path is for kind = 'folder', and required there")
        if (self.kind is DirectoryKind.LDAP) != (self.uri is not None):
            raise ValueError("uri is for kind = 'ldap', and required there")
        if self.starttls and self.uri is not None and self.uri.startswith("ldaps:"):
            raise ValueError("starttls belongs to ldap://, not to ldaps://")
        if (self.bind_dn is None) != (self.password is None):
            raise ValueError("bind_dn and password belong together")
        over_tls = self.uri is not None and (self.starttls or self.uri.startswith("ldaps:"))
        if self.identity is not None and (not over_tls or self.bind_dn is not None):
            raise ValueError("identity is for kind = 'ldap' over TLS, in place of bind_dn and password")
        if not self.kind.in_dns and (self.resolvers or self.dnssec_required):
            raise ValueError("resolvers and dnssec are for kind = 'ldap-srv', 'smimea' and 'cert'")
        if self.dnssec_required:
            # Whoever sits between us and a resolver sets the AD bit as he likes (RFC 4035 4.9.3).
            near = bool(self.resolvers) and all(ip_address(each).is_loopback for each in self.resolvers)
            if not (near or (self.resolvers and self.trust_ad is AdFrom.RESOLVERS)):
                raise ValueError("resolvers on loopback where DNSSEC is required, or any resolvers with trust_ad = 'resolvers'")
        return self
