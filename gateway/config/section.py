"""What every section is, and the one that stands in many others: where a secret comes from."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from gateway.config.kinds import PresentFile


class Section(BaseModel):
    """What every section is: frozen, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Secret(Section):
    """Where a secret comes from: exactly one of a file, an environment variable, a systemd credential."""

    file: PresentFile | None = None
    environment: str | None = None
    credential: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.file, self.environment, self.credential)) != 1:
            raise ValueError("give exactly one of file, environment, credential")
        return self
