"""What one section says of another: each name leads somewhere, each domain has one owner, each address and network can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from gateway.config.mistake import Finding, KeyPath, one_of, shown
from gateway.config.model import Config, KeyPurpose, KeyStore, RouteKind, Rule, TlsMode
from gateway.mail.address import AddressError, normal_domain, parse_address


@dataclass(frozen=True, slots=True)
class Tree:
    """What could be read so far. ``config`` holds the good sections alone; ``names`` are all that were written, by kind."""

    config: Config
    names: dict[str, set[str]]
    rules: list[tuple[int, Rule]]


def references(tree: Tree) -> Iterator[Finding]:
    """Every mistake between sections."""
    yield from _keys(tree)
    yield from _listeners(tree)
    yield from _organisations(tree)
    yield from _clients(tree)
    yield from _routes(tree)
    yield from _rules(tree)
    yield from _zones(tree)
    yield from _networks(tree.config.fetching.allow_private, ("fetching", "allow_private"))
    yield from _numeric(tree.config.metrics.address, ("metrics", "address"))


def _refer(tree: Tree, path: KeyPath, name: str | None, kind: str) -> Iterator[Finding]:
    names = tree.names.get(kind, set())
    if name is not None and name not in names:
        yield Finding(
            path, shown(name), one_of(names, name, f"the name of a {'zone file' if kind == 'zone' else f'[{kind}] section'}")
        )


def _keys(tree: Tree) -> Iterator[Finding]:
    config = tree.config
    name = getattr(config, "spool_key", None)
    yield from _refer(tree, ("spool_key",), name, "key")
    if name in config.key and config.key[name].purpose is not KeyPurpose.SPOOL:
        yield Finding(("spool_key",), f"a key with purpose = '{config.key[name].purpose}'", "a key with purpose = 'spool'")
    for name, key in config.key.items():
        path = ("key", name)
        yield from _refer(tree, (*path, "organisation"), key.organisation, "organisation")
        if key.store is KeyStore.TOKEN and config.token is None and "token" not in tree.names:
            yield Finding(path, "a key in a token, and no [token] section", "a [token] section, or store = 'file'")
        owner = config.organisation.get(key.organisation or "")
        for number, text in enumerate(key.addresses):
            try:
                domain = parse_address(text).domain
            except AddressError:
                yield Finding((*path, "addresses", number), shown(text), "an address, local@domain")
                continue
            if owner is not None and domain not in owner.domains:
                yield Finding(
                    (*path, "addresses", number),
                    shown(text),
                    one_of(owner.domains, domain, "an address of the organisation's domains"),
                )


def _listeners(tree: Tree) -> Iterator[Finding]:
    places: dict[tuple[str, int], str] = {}
    for name, listener in tree.config.listener.items():
        path = ("listener", name)
        yield from _refer(tree, (*path, "identity"), listener.identity, "tls")
        yield from _refer(tree, (*path, "zone"), listener.zone, "zone")
        yield from _refer(tree, (*path, "organisation"), listener.organisation, "organisation")
        yield from _numeric(listener.address, (*path, "address"))
        first = places.setdefault((listener.address, listener.port), name)
        if first != name and listener.port:
            yield Finding((*path, "port"), f"the address and port of listener {first}", "a place of its own for each listener")


def _organisations(tree: Tree) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for name, organisation in tree.config.organisation.items():
        path = ("organisation", name)
        yield from _refer(tree, (*path, "mail_server"), organisation.mail_server, "route")
        yield from _refer(tree, (*path, "outbound"), organisation.outbound, "route")
        server = tree.config.route.get(organisation.mail_server)
        if server is not None and server.kind is not RouteKind.HOST:
            yield Finding((*path, "mail_server"), f"a route with kind = '{server.kind}'", "a route with kind = 'host'")
        for number, directory in enumerate(organisation.directories):
            yield from _refer(tree, (*path, "directories", number), directory, "directory")
        for number, domain in enumerate(organisation.domains):
            first = owners.setdefault(domain, name)
            if first != name:
                yield Finding(
                    (*path, "domains", number),
                    f"{shown(domain)}, a domain of organisation {first}",
                    "one organisation for each domain",
                )


def _clients(tree: Tree) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, client in tree.config.client.items():
        path = ("client", name)
        yield from _refer(tree, (*path, "organisation"), client.organisation, "organisation")
        yield from _networks(client.networks, (*path, "networks"))
        for number, text in enumerate(client.networks):
            first = seen.setdefault(text, name)
            if first != name:
                yield Finding(
                    (*path, "networks", number), f"{shown(text)}, a network of client {first}", "one client for each network"
                )
        owner = tree.config.organisation.get(client.organisation)
        for number, domain in enumerate(client.may_send_for):
            if owner is not None and domain not in owner.domains:
                yield Finding(
                    (*path, "may_send_for", number), shown(domain), one_of(owner.domains, domain, "a domain of its organisation")
                )


def _routes(tree: Tree) -> Iterator[Finding]:
    for name, route in tree.config.route.items():
        yield from _refer(tree, ("route", name, "identity"), route.identity, "tls")
        if route.host is not None:
            yield from _host(route.host, ("route", name, "host"))
        if route.tls is TlsMode.NONE and (route.anchors is not None or route.identity is not None):
            yield Finding(("route", name), "anchors or identity without TLS", "tls = 'starttls' or 'implicit' beside them")


def _rules(tree: Tree) -> Iterator[Finding]:
    names: dict[str, int] = {}
    for index, rule in tree.rules:
        when, path = rule.when, ("rule", index, "when")
        if names.setdefault(rule.name, index) != index:
            yield Finding(
                ("rule", index, "name"),
                f"{shown(rule.name)}, the name of rule [{names[rule.name]}]",
                "a name of its own for each rule",
            )
        if rule.name.startswith(("default-", "report-")):
            yield Finding(("rule", index, "name"), shown(rule.name), "a name that does not begin with 'default-' or 'report-'")
        yield from _refer(tree, (*path, "organisation"), when.organisation, "organisation")
        yield from _refer(tree, (*path, "zone"), None if when.zone == "*" else when.zone, "zone")
        for key, patterns in (("sender", when.sender), ("recipient", when.recipient)):
            for number, text in enumerate(patterns):
                if not _is_pattern(text):
                    yield Finding((*path, key, number), shown(text), "local@domain, @domain or @*.domain")


def _zones(tree: Tree) -> Iterator[Finding]:
    for name, zone in tree.config.zone.items():
        path: KeyPath = ("zone", name)
        yield from _refer(tree, (*path, "identity"), zone.identity, "tls")
        for number, directory in enumerate(zone.directories):
            yield from _refer(tree, (*path, "directories", number), directory, "directory")
        names, domains = dict[str, int](), dict[str, int]()
        for index, peer in enumerate(zone.peer):
            if names.setdefault(peer.name, index) != index:
                yield Finding((*path, "peer", index, "name"), shown(peer.name), "a name of its own for each peer")
            yield from _host(peer.host, (*path, "peer", index, "host"))
            for number, domain in enumerate(peer.domains):
                first = domains.setdefault(domain, index)
                if first != index:
                    found = f"{shown(domain)}, a domain of peer {zone.peer[first].name}"
                    yield Finding((*path, "peer", index, "domains", number), found, "one peer for each domain of a zone")


def _is_pattern(text: str) -> bool:
    if text.startswith("@"):
        text = "any@" + text.removeprefix("@").removeprefix("*.")
    try:
        parse_address(text)
    except AddressError:
        return False
    return True


def _networks(texts: tuple[str, ...], path: KeyPath) -> Iterator[Finding]:
    for number, text in enumerate(texts):
        try:
            ip_network(text)
        except ValueError as error:
            allowed = (
                "the first address of the network" if "host bits" in str(error) else "a network such as 10.1.0.0/24 or fd00::/8"
            )
            yield Finding((*path, number), shown(text), allowed)


def _numeric(text: str, path: KeyPath) -> Iterator[Finding]:
    try:
        ip_address(text)
    except ValueError:
        yield Finding(path, shown(text), "an IP address, such as 127.0.0.1 or ::")


def _host(text: str, path: KeyPath) -> Iterator[Finding]:
    try:
        ip_address(text)
    except ValueError:
        try:
            normal_domain(text)
        except AddressError:
            yield Finding(path, shown(text), "a host name or an IP address")
