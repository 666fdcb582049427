"""All targets by name."""

from __future__ import annotations

from typing import Final

from fuzz import directory, discovery, flow, mail, partners, smime, smtp, trust
from fuzz.target import Target

_ALL: Final = (
    *smime.TARGETS,
    *mail.TARGETS,
    *smtp.TARGETS,
    *flow.TARGETS,
    *trust.TARGETS,
    *discovery.TARGETS,
    *directory.TARGETS,
    *partners.TARGETS,
)
TARGETS: Final[dict[str, Target]] = {each.name: each for each in _ALL}
