"""``[agents]``: the key agents apart from everything else, as another user."""

from __future__ import annotations

import pwd
from typing import Self

from pydantic import model_validator

from gateway.config.kinds import File, RunFolder, User
from gateway.config.section import Section


class Agents(Section):
    """The key agents run as ``user`` and let nobody but ``serve`` in, the user of workers and control.

    ``state`` (token lock, PIN markers, audit) and ``run`` (sockets) are directories of ``user``.
    """

    user: User
    serve: User
    state: File
    run: RunFolder

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.user == self.serve:
            raise ValueError("two users, or no [agents] section")
        return self

    @property
    def served(self) -> int:
        """The user id of ``serve``."""
        return pwd.getpwnam(self.serve).pw_uid
