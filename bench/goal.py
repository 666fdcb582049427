"""What a measurement is held to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """What a figure is to reach."""

    words: str
    reached: bool

    def __str__(self) -> str:
        return f"{self.words}: {'reached' if self.reached else 'missed'}"
