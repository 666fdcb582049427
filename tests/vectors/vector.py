"""One vector as it is made: the mail, and in what its world differs from the usual one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tests.flow.opened import HEADER

FROM: Final = b"From: Results <results@laboratory.example>\r\n"
EVIL: Final = {"domains": ["laboratory.example", "evil.example"]}
"""The world in which evil.example is a member of the zone like others."""


@dataclass(frozen=True)
class Vector:
    """``world`` has the keys of ``world.json`` that are not as usual."""

    message: bytes
    world: dict[str, Any] = field(default_factory=dict)


def header(author: str | bytes, more: bytes = b"") -> bytes:
    """The usual header with another From (its value; none for ""), and more fields behind it."""
    value = author.encode() if isinstance(author, str) else author
    return HEADER.replace(FROM, (b"From: " + value + b"\r\n" if value else b"") + more)
