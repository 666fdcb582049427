"""Logging in to a next hop (RFC 4954): which mechanism, and what is said. Pure; for use under TLS alone."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a next hop. The password is in no representation of it."""

    user: str
    password: str = field(repr=False)


def login_lines(mechanisms: str, login: Login) -> tuple[str, ...]:
    """What to say: the command, then an answer to each 334. ``mechanisms`` are those the hop offers, with spaces between.

    PLAIN (RFC 4616), else LOGIN, which has no RFC and is all that some smarthosts have. Empty where the hop offers neither.
    """
    offered = mechanisms.upper().split()
    if "PLAIN" in offered:
        return ("AUTH PLAIN " + _base64(f"\0{login.user}\0{login.password}"),)
    if "LOGIN" in offered:
        return ("AUTH LOGIN", _base64(login.user), _base64(login.password))
    return ()


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
