"""All targets by name."""

from __future__ import annotations

from typing import Final

from fuzz import flow, mail, smime, smtp
from fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {each.name: each for each in (*smime.TARGETS, *mail.TARGETS, *smtp.TARGETS, *flow.TARGETS)}
