"""Where certificates of some people outside every zone are looked up, where that is not where it is for all."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from gateway.config.kinds import DirectoryName, Pattern
from gateway.config.section import Section
from gateway.trust.ladder import AfterInvalid, Rung


class Correspondents(Section):
    """``[[organisation.NAME.correspondents]]``: addresses (``local@domain``, ``@domain``, ``@*.domain``) with sources of their own.

    What is left out is as it is for the organisation.
    """

    recipient: tuple[Pattern, ...] = Field(min_length=1)
    directories: tuple[DirectoryName, ...] | None = None
    least_trust: Rung | None = None
    after_invalid: AfterInvalid | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.directories is None and self.least_trust is None and self.after_invalid is None:
            raise ValueError("give directories, least_trust or after_invalid: else nothing is different for them")
        return self
