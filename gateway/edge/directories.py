"""An adapter for each ``[directory.NAME]``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from gateway.config.model import Directory, TlsIdentity
from gateway.config.words import DirectoryKind
from gateway.edge.dns import Resolver
from gateway.edge.dnscertificates import Cert, Smimea
from gateway.edge.dnslookup import Lookup, LookupSettings
from gateway.edge.folder import Folder
from gateway.edge.ldap import Ldap, LdapSettings
from gateway.edge.ldapsrv import LdapSrv
from gateway.edge.reachable import Network
from gateway.edge.secret import read_secret

AnyDirectory = Folder | Ldap | LdapSrv | Smimea | Cert


def make_directory(
    name: str, section: Directory, identities: Mapping[str, TlsIdentity], allowed: tuple[Network, ...]
) -> AnyDirectory:
    """The adapter for ``section``; ``identities`` by name; ``allowed`` are networks of ours that strangers may send us to.

    Raises what the adapters do.
    """
    if section.path is not None:
        return Folder(name, section.path)
    if section.uri is not None:
        identity = None if section.identity is None else identities[section.identity]
        return Ldap(name, _ldap_settings(section, section.uri, identity))
    deadline = section.deadline_seconds
    lookup = Lookup(name, LookupSettings(section.resolvers, section.resolver_port, deadline, section.dnssec_required))
    match section.kind:
        case DirectoryKind.SMIMEA:
            return Smimea(lookup)
        case DirectoryKind.CERT:
            return Cert(lookup)
        case _:
            resolver = Resolver(section.resolvers, section.resolver_port, deadline)
            return LdapSrv(lookup, resolver, allowed, lambda most: secrets.randbelow(most + 1))


def _ldap_settings(section: Directory, uri: str, identity: TlsIdentity | None) -> LdapSettings:
    password = read_secret(section.password) if section.password is not None else None
    return LdapSettings(
        uri=uri,
        base=section.base,
        starttls=section.starttls,
        anchors=section.anchors,
        bind_dn=section.bind_dn,
        password=password,
        identity=identity,
        deadline_seconds=section.deadline_seconds,
    )
