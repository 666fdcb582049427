"""Where a mail goes next: the names in the configuration become hosts, ports and TLS contexts.

Asked anew for each delivery, of the configuration in force then: a corrected host helps the mail that waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gateway.config.model import Config, Route, RouteKind, TlsMode
from gateway.config.words import Stapling
from gateway.edge.secret import read_secret
from gateway.edge.smtpclient import Target
from gateway.edge.smtplink import ClientContext
from gateway.edge.tlsclient import peer_context, route_context
from gateway.edge.tlsstapled import StapledContext
from gateway.mail.envelope import NextHop
from gateway.outcome import Defer, GatewayError, Reason, Refuse
from gateway.smtp.login import Login

MAX_TARGETS: Final = 5  # how many of a domain's mail exchanges are tried for one delivery


class Resolver(Protocol):
    """Knows the mail exchanges of a domain (``edge.dns``)."""

    async def exchanges(self, domain: str, own_name: str, /) -> tuple[str, ...] | Refuse | Defer:
        """Hosts, best first."""

    async def addresses(self, host: str, /) -> tuple[str, ...]:
        """Network addresses of a host. Raises :class:`GatewayError`."""


class NextHops:
    """Finds the targets of a next hop. What does not change with the mail is made once for each generation of the configuration."""

    def __init__(self, config: Callable[[], Config], resolver: Resolver) -> None:
        self._config = config
        self._resolver = resolver
        self._fixed: dict[NextHop, Target] = {}
        self._contexts: dict[str, ClientContext] = {}
        self._logins: dict[str, Login] = {}
        self._of: Config | None = None

    def by_mx(self, hop: NextHop) -> bool:
        """Whether the way depends on the recipient's domain."""
        route = None if hop.zone is not None else self._config().route.get(hop.name)
        return route is not None and route.kind is RouteKind.MX

    def fixed(self, hop: NextHop) -> Target:
        """The peer of a zone, or the host of a route.

        Raises :class:`GatewayError`: NO_ROUTE where the configuration no longer names it, TLS_FAILED where its files cannot be
        used, KEY_UNAVAILABLE where its password cannot be read. All wait for the administrator.
        """
        config = self._now_in_force()
        found = self._fixed.get(hop)
        if found is None:
            found = self._host(config, hop) if hop.zone is None else self._peer(config, hop, hop.zone)
            self._fixed[hop] = found
        return found

    def _peer(self, config: Config, hop: NextHop, name: str) -> Target:
        zone = config.zone.get(name)
        peer = next((peer for peer in zone.peer if peer.name == hop.name), None) if zone else None
        if zone is None or peer is None:
            raise GatewayError(Reason.NO_ROUTE, f"no such next hop: {hop}")
        build = StapledContext if zone.stapling is Stapling.ASKED else peer_context
        context = self._context(f"zone:{name}", lambda: build(zone.anchors, config.tls[zone.identity]))
        return Target(peer.host, (), peer.port, peer.tls, context, hop, zone.source)

    def _host(self, config: Config, hop: NextHop) -> Target:
        route = config.route.get(hop.name)
        if route is None or route.host is None:
            raise GatewayError(Reason.NO_ROUTE, f"no such next hop: {hop}")
        context = self._route_context(config, hop, route)
        return Target(route.host, (), route.port, route.tls, context, sources=route.source, login=self._login(hop, route))

    async def of_domain(self, hop: NextHop, domain: str) -> tuple[Target, ...] | Refuse | Defer:
        """The mail exchanges of ``domain``, best first, for a route that goes by MX. Raises as :meth:`fixed`."""
        config = self._now_in_force()
        route = config.route.get(hop.name)
        if route is None or route.kind is not RouteKind.MX:  # changed since it was asked
            raise GatewayError(Reason.NO_ROUTE, f"no such next hop: {hop}")
        context = self._route_context(config, hop, route)
        hosts = await self._resolver.exchanges(domain, config.hostname)
        if not isinstance(hosts, tuple):
            return hosts
        targets: list[Target] = []
        trouble = Defer(Reason.HOP_UNREACHABLE, f"{domain}: no mail exchange has an address")
        for host in hosts:
            try:
                addresses = await self._resolver.addresses(host)
            except GatewayError as error:
                trouble = Defer(error.reason, error.detail)
                continue
            targets.append(Target(host, addresses, route.port, route.tls, context, sources=route.source))
            if len(targets) == MAX_TARGETS:
                break
        return tuple(targets) or trouble

    def _route_context(self, config: Config, hop: NextHop, route: Route) -> ClientContext | None:
        if route.tls is TlsMode.NONE:
            return None
        identity = config.tls[route.identity] if route.identity is not None else None
        return self._context(str(hop), lambda: route_context(route.anchors, identity))

    def _login(self, hop: NextHop, route: Route) -> Login | None:
        """A secret that cannot be read now is read later."""
        if route.user is None or route.password is None:
            return None
        login = self._logins.get(hop.name)
        if login is None:
            login = self._logins[hop.name] = Login(route.user, read_secret(route.password))
        return login

    def _now_in_force(self) -> Config:
        """The configuration; nothing that was made of another is left."""
        config = self._config()
        if self._of is not config:
            self._of = config
            self._fixed, self._contexts, self._logins = {}, {}, {}
        return config

    def _context(self, key: str, build: Callable[[], ClientContext]) -> ClientContext:
        if key not in self._contexts:
            self._contexts[key] = build()
        return self._contexts[key]
