"""What must agree between sections: each domain, place and network has one owner, each key pair one purpose."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.kinds import contents, first_certificate, first_public_key, private_half, rsa_public_key
from gateway.config.mistake import Finding, KeyPath, dotted, one_of, shown
from gateway.config.model import Config, KeyPurpose, KeyStore, Organisation, RouteKind, TlsMode
from gateway.mail.address import parse_address
from gateway.outcome import GatewayError
from gateway.smime.mechanisms import mechanisms_of
from gateway.trust.kept import KEPT, KeptAs

# What may stand once alone: the path ("*" is any key or number), inside how much of it, and what is allowed.
_ONCE: Final[tuple[tuple[KeyPath, int, str], ...]] = (
    (("organisation", "*", "domains", "*"), 1, "a domain of one organisation alone"),
    (("client", "*", "networks", "*"), 1, "a network of one client alone"),
    (("rule", "*", "name"), 1, "a name of one rule alone"),
    (("zone", "*", "peer", "*", "name"), 3, "a name of one peer of the zone alone"),
    (("zone", "*", "peer", "*", "domains", "*"), 3, "a domain of one peer of the zone alone"),
)


_OUR_SOURCES: Final = (*map(str, KeptAs), KEPT)


def repeated(data: dict[str, Any]) -> Iterator[Finding]:
    """What stands twice in ``data``, the sections as they were written, right or wrong."""
    for pattern, scope, allowed in _ONCE:
        first: dict[tuple[KeyPath, str], KeyPath] = {}
        for path, text in _texts(data, pattern):
            owner = first.setdefault((path[:scope], text.lower()), path)
            if owner != path:
                yield Finding(path, f"{shown(text)}, as in {dotted(owner[(2 if owner[0] == 'zone' else 0) : scope + 1])}", allowed)


def _texts(data: object, pattern: KeyPath, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every text in ``data`` at a path like ``pattern``."""
    if len(path) == len(pattern):
        if isinstance(data, str):
            yield path, data
        return
    part, inside = pattern[len(path)], list[tuple[str | int, Any]]()
    if isinstance(data, dict):
        inside = list(data.items()) if part == "*" else [(part, data.get(part))]
    elif isinstance(data, list) and part == "*":
        inside = list(enumerate(data))
    for key, each in inside:
        yield from _texts(each, pattern, (*path, key))


def references(config: Config, *, has_token: bool) -> Iterator[Finding]:
    """Every mistake between sections. ``config`` may lack those that are wrong in themselves."""
    yield from _keys(config, has_token=has_token)
    yield from _key_pairs(config)
    yield from _mechanisms(config)
    yield from _listeners(config)
    yield from _organisations(config)
    yield from _clients(config)
    yield from _routes(config)
    yield from _directories(config)
    yield from _agents(config)


def _keys(config: Config, *, has_token: bool) -> Iterator[Finding]:
    for where, purpose in (("spool_key", KeyPurpose.SPOOL), ("recovery_key", KeyPurpose.SPOOL), ("audit_key", KeyPurpose.AUDIT)):
        chosen = config.key.get(getattr(config, where, None) or "")
        if chosen is not None and chosen.purpose is not purpose:
            yield Finding((where,), f"a key with purpose = '{chosen.purpose}'", f"a key with purpose = '{purpose}'")
    spool = getattr(config, "spool_key", None)
    if spool is not None and spool == getattr(config, "recovery_key", None):
        yield Finding(("recovery_key",), "the spool_key", "another key")
    if spool in config.key and config.key[spool].store is KeyStore.OFFLINE:
        yield Finding(("spool_key",), "a key with store = 'offline'", "a key that can open what it seals")
    for name, key in config.key.items():
        if key.store is KeyStore.TOKEN and not has_token:
            yield Finding(("key", name), "a key in a token, and no [token] section", "a [token] section, or store = 'file'")
        owner = config.organisation.get(key.organisation or "")
        for number, text in enumerate(key.addresses):
            domain = parse_address(text).domain
            if owner is not None and domain not in owner.domains:
                allowed = one_of(owner.domains, domain, "an address in the organisation's domains")
                yield Finding(("key", name, "addresses", number), shown(text), allowed)


def _key_pairs(config: Config) -> Iterator[Finding]:
    """A TLS key belongs to its certificate; a key that signs must not also open, and a TLS key does neither."""
    purposes: dict[bytes, tuple[str, str]] = {}
    uses: list[tuple[KeyPath, str, PublicKeyTypes]] = []
    for name, identity in config.tls.items():
        shows = contents(identity.certificate, first_public_key)
        with contextlib.suppress(PermissionError):  # the key agents may not read it, and need not
            if _spki(shows) != _spki(contents(identity.key, private_half)):
                found = f"a key that does not belong to {identity.certificate}"
                yield Finding(("tls", name, "key"), found, "the private key of the certificate")
        uses.append((("tls", name, "certificate"), "tls", shows))
    for name, key in config.key.items():
        if key.certificate is not None:
            uses.append((("key", name, "certificate"), key.purpose, contents(key.certificate, first_public_key)))
        elif key.public_key is not None:
            uses.append((("key", name, "public_key"), key.purpose, contents(key.public_key, rsa_public_key)))
    for path, purpose, shows in uses:
        owner, other = purposes.setdefault(_spki(shows), (f"{path[0]}.{path[1]}", purpose))
        if other != purpose:
            yield Finding(path, f"the key pair of {owner}", "a key pair with one purpose")


def _mechanisms(config: Config) -> Iterator[Finding]:
    for name, key in config.key.items():
        if key.mechanism is None or key.certificate is None:
            continue
        try:
            fitting = mechanisms_of(contents(key.certificate, first_certificate))
        except GatewayError as error:
            yield Finding(("key", name, "certificate"), error.detail, "a certificate whose key we sign by")
            continue
        if key.mechanism not in fitting:
            allowed = one_of(fitting, key.mechanism, "what its key signs with")
            yield Finding(("key", name, "mechanism"), shown(str(key.mechanism)), allowed)


def _listeners(config: Config) -> Iterator[Finding]:
    places: dict[tuple[str, int], str] = {}
    for name, listener in config.listener.items():
        owner = places.setdefault((listener.address, listener.port), name)
        if owner != name and listener.port:
            yield Finding(("listener", name, "port"), f"the address and port of listener.{owner}", "a place for one listener alone")


def _organisations(config: Config) -> Iterator[Finding]:
    for name, organisation in config.organisation.items():
        server = config.route.get(organisation.mail_server)
        if server is not None and server.kind is not RouteKind.HOST:
            yield Finding(
                ("organisation", name, "mail_server"), f"a route with kind = '{server.kind}'", "a route with kind = 'host'"
            )
        opens = (key for key in config.key.values() if key.purpose is KeyPurpose.DECRYPT and key.organisation == name)
        if organisation.to_sender and not any(not key.addresses and not key.retired for key in opens):
            allowed = "a key with purpose = 'decrypt' for the whole organisation, with which its senders' copies are opened"
            yield Finding(("organisation", name, "to_sender"), "true, and no key that opens them", allowed)
        yield from _readers(name, organisation)


def _readers(name: str, organisation: Organisation) -> Iterator[Finding]:
    """Who is said to open less than the floor would get nothing, ever."""
    for number, reader in enumerate(organisation.reader):
        for key in organisation.floor.missed_by(reader.opens):
            path = ("organisation", name, "reader", number, "opens", key)
            least = str(getattr(organisation.floor, key))
            yield Finding(path, f"{shown(str(getattr(reader.opens, key)))}, below the floor", shown(least))


def _clients(config: Config) -> Iterator[Finding]:
    users: dict[str, str] = {}
    for name, client in config.client.items():
        for user in client.users.by_name if client.users is not None else ():
            first = users.setdefault(user, name)
            if first != name:
                yield Finding(("client", name, "users"), f"{shown(user)}, as in client.{first}", "a user of one client alone")
        owner = config.organisation.get(client.organisation)
        for number, domain in enumerate(client.may_send_for):
            if owner is not None and domain not in owner.domains:
                allowed = one_of(owner.domains, domain, "a domain of its organisation")
                yield Finding(("client", name, "may_send_for", number), shown(domain), allowed)


def _routes(config: Config) -> Iterator[Finding]:
    for name, route in config.route.items():
        if route.tls is TlsMode.NONE and (route.anchors is not None or route.identity is not None):
            yield Finding(("route", name), "anchors or identity without TLS", "tls = 'starttls' or 'implicit' beside them")
        # A name is looked up when it is delivered to, and compared then
        with contextlib.suppress(ValueError):
            ours = config.listener_at(route.host or "", route.port, own=ip_address(route.host or "").is_loopback)
            if ours is not None:
                yield Finding(("route", name, "port"), f"the address and port of listener.{ours}", "another server")


def _directories(config: Config) -> Iterator[Finding]:
    """A directory comes and is told of by its name, among what we keep ourselves."""
    allowed = f"another name than those of what we keep ourselves: {', '.join(map(shown, sorted(_OUR_SOURCES)))}"
    for name in config.directory:
        if name in _OUR_SOURCES:
            yield Finding(("directory", name), shown(name), allowed)


def _agents(config: Config) -> Iterator[Finding]:
    if config.agents is None:
        return
    for name in ("state", "run"):
        if getattr(config.agents, name) == getattr(config, name, None):
            yield Finding(("agents", name), f"the directory of {name} above", "a directory of the key agents alone")


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
