"""``[route.NAME]``: a next hop that is no peer of a zone."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from gateway.config.kinds import CertificateFile, Host, Port, Sources, TlsName
from gateway.config.section import Section
from gateway.config.words import RouteKind, TlsMode


class Route(Section):
    """``[route.NAME]``: a next hop. ``anchors`` is a PEM file its certificate must lead to; without it the system's own list.

    ``source`` are addresses of ours to connect from.
    """

    kind: RouteKind = RouteKind.HOST
    host: Host | None = None
    port: Port = 25
    tls: TlsMode = TlsMode.NONE
    anchors: CertificateFile | None = None
    identity: TlsName | None = None
    source: Sources = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind is RouteKind.HOST) != (self.host is not None):
            raise ValueError("host is for kind = 'host', and required there")
        return self
