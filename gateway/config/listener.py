"""``[listener.NAME]`` and ``[client.NAME]``: where we accept SMTP, and from whom."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.config.kinds import Domain, Network, Numeric, OrganisationName, TlsName, ZoneName
from gateway.config.section import Section
from gateway.config.users import UsersFile
from gateway.config.words import LineEnds, TlsMode
from gateway.mail.envelope import Role


class Listener(Section):
    """``[listener.NAME]``: where we accept SMTP. ``zone`` belongs to the role ``zone`` and is required there.

    A connection from ``proxy``, our load balancers, begins with a PROXY header.
    """

    address: Numeric
    port: Annotated[int, Field(ge=0, le=65535)]
    role: Role
    tls: TlsMode = TlsMode.NONE
    identity: TlsName | None = None
    zone: ZoneName | None = None
    organisation: OrganisationName | None = None
    proxy: tuple[Network, ...] = ()

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
    """``[client.NAME]``: one of our own mail servers, known by network, login or both, and the domains it may sign for."""

    networks: tuple[Network, ...] = ()
    users: UsersFile | None = None
    organisation: OrganisationName
    may_send_for: tuple[Domain, ...] = Field(min_length=1)
    require_tls: bool = False
    line_ends: LineEnds = LineEnds.REFUSE

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.networks and self.users is None:
            raise ValueError("networks, users or both: a client is known by something")
        return self
