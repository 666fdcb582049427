"""Which part of the gateway a ``smime-gateway run`` runs."""

from __future__ import annotations

import pwd
from enum import StrEnum

from gateway.config.model import Config


class Part(StrEnum):
    """What one ``smime-gateway run`` runs. The value is what its supervisor is called."""

    WHOLE = "supervisor"
    KEYS = "key-supervisor"
    MAIL = "mail-supervisor"


class WrongUser(Exception):
    """Nothing of the gateway runs as this user."""


def part_of(config: Config, user: int) -> Part:
    """The part that the user id ``user`` runs. Nothing chooses it but who we are, so that no mistake of a command line joins
    what ``[agents]`` keeps apart. Raises :class:`WrongUser`.
    """
    agents = config.agents
    if agents is None:
        return Part.WHOLE
    if user == agents.served:
        return Part.MAIL
    if user == pwd.getpwnam(agents.user).pw_uid:
        return Part.KEYS
    raise WrongUser(f"[agents] says who runs this: {agents.user} for the key agents, {agents.serve} for everything else")
