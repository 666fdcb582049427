"""The sections that are numbers with sensible values: limits, times, processes."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.config.kinds import Megabytes, Network, Numeric
from gateway.config.section import Section
from gateway.config.urls import ProxyUrl


class Limits(Section):
    """Named limits; what each guards is in docs/limits.md."""

    message_megabytes: Megabytes = 50
    recipients: Annotated[int, Field(ge=1, le=10000)] = 1000
    connections: Annotated[int, Field(ge=1)] = 500
    connections_per_address: Annotated[int, Field(ge=1)] = 50
    messages: Annotated[int, Field(ge=1)] = 1000
    command_seconds: Annotated[float, Field(gt=0)] = 300.0
    message_seconds: Annotated[float, Field(gt=0)] = 1800.0
    errors: Annotated[int, Field(ge=1)] = 10
    received: Annotated[int, Field(ge=1)] = 50
    free_megabytes: Annotated[int, Field(ge=0)] = 200


class Retry(Section):
    """When a deferred mail is tried again, when its sender hears that it waits (0: never), and when it is given up."""

    first_seconds: Annotated[float, Field(gt=0)] = 60.0
    longest_seconds: Annotated[float, Field(gt=0)] = 3600.0
    warn_hours: Annotated[float, Field(ge=0)] = 4.0
    give_up_hours: Annotated[float, Field(gt=0)] = 120.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.warn_hours >= self.give_up_hours:
            raise ValueError("warn_hours comes before give_up_hours, or is 0")
        return self


class Processes(Section):
    """How many of each; 0 workers means one for each core."""

    workers: Annotated[int, Field(ge=0, le=64)] = 0
    sign_agents: Annotated[int, Field(ge=1, le=64)] = 1
    unwrap_agents: Annotated[int, Field(ge=1, le=64)] = 1


class Endpoint(Section):
    """Where metrics are served over HTTP."""

    address: Numeric = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class Fetching(Section):
    """Limits of what we fetch because a certificate says so. ``allow_private`` lists networks of our own that serve CRLs; ``proxy``
    is an HTTP proxy all HTTP goes through.
    """

    allow_private: tuple[Network, ...] = ()
    deadline_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    megabytes: Megabytes = 20
    proxy: ProxyUrl | None = None
