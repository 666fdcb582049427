"""``[route.NAME]``: a next hop that is no peer of a zone."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from gateway.config.kinds import CertificateFile, Host, LoginName, Port, Sources, TlsName
from gateway.config.section import Secret, Section
from gateway.config.words import RouteKind, TlsMode


class Route(Section):
    """``[route.NAME]``: a next hop. ``anchors`` is a PEM file its certificate must lead to; without it the system's own list.

    ``source`` are addresses of ours to connect from; with ``user`` and ``password`` we log in there.
    """

    kind: RouteKind = RouteKind.HOST
    host: Host | None = None
    port: Port = 25
    tls: TlsMode = TlsMode.NONE
    anchors: CertificateFile | None = None
    identity: TlsName | None = None
    source: Sources = ()
    user: LoginName | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind is RouteKind.HOST) != (self.host is not None):
            raise ValueError("host is for kind = 'host', and required there")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        if self.user is not None and (self.host is None or self.tls is TlsMode.NONE):
            raise ValueError("a login is for kind = 'host' with tls = 'starttls' or 'implicit'")
        return self
