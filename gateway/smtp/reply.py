"""A reply of SMTP (RFC 5321 4.2, RFC 2034): one value that cannot disagree with itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.outcome import REASONS, Defer, Reason, Refuse

MAX_TEXT: Final = 1000  # of one line of a peer; RFC 5321 4.5.3.1.5 allows 512, longer ones are cut rather than believed
MAX_LINES: Final = 100

_CODE: Final = re.compile(rb"([2-5][0-9]{2})([ -]|$)")
_ENHANCED: Final = re.compile(r"([245])\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})(?: |$)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ReplyError(ValueError):
    """A peer's line that is no reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``code`` of three digits, ``enhanced`` (``class.subject.detail`` of RFC 3463, or "" where none belongs) and lines of text
    without code, enhanced code or line end. Raises ``ValueError`` where the classes of both codes differ.
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599 or not self.lines:
            raise ValueError("not a reply")
        if self.enhanced and (not _ENHANCED.fullmatch(self.enhanced) or int(self.enhanced[0]) != self.code // 100):
            raise ValueError("code and enhanced code disagree")
        if any(_CONTROL.search(line) for line in self.lines):
            raise ValueError("control character in a reply")

    def __str__(self) -> str:
        """The first line as it goes over the wire."""
        return " ".join(part for part in (str(self.code), self.enhanced, self.lines[0]) if part)

    @property
    def done(self) -> bool:
        """2yz: the command was carried out."""
        return self.code // 100 == 2

    @property
    def transient(self) -> bool:
        """4yz: the same may succeed later."""
        return self.code // 100 == 4

    @property
    def permanent(self) -> bool:
        """5yz: the same will never succeed."""
        return self.code // 100 == 5

    @property
    def closing(self) -> bool:
        """Whether who says this ends the connection: 221, 421 (RFC 5321 3.8) and 521 (RFC 7504)."""
        return self.code in (221, 421, 521)

    def encode(self) -> bytes:
        """The bytes on the wire, one CRLF line for each line of text."""
        enhanced = f"{self.enhanced} " if self.enhanced else ""
        last = len(self.lines) - 1
        if last == 0:  # nearly always
            return f"{self.code} {enhanced}{self.lines[0]}\r\n".encode()
        return b"".join(
            f"{self.code}{' ' if number == last else '-'}{enhanced}{line}\r\n".encode() for number, line in enumerate(self.lines)
        )


def reply_to(ending: Refuse | Defer, text: str = "") -> Reply:
    """What a peer is told of an ending: the codes and words of its reason. ``text`` replaces the words (a constant of ours,
    never the ending's ``detail``, which is the administrator's).
    """
    explanation = REASONS[ending.reason]
    code = explanation.permanent if isinstance(ending, Refuse) else explanation.transient
    return Reply(code, f"{code // 100}.{explanation.status}", (text or explanation.public,))


def refused(reason: Reason, text: str = "") -> Reply:
    """The reply of a refusal for ``reason``."""
    return reply_to(Refuse(reason), text)


def deferred(reason: Reason, text: str = "") -> Reply:
    """The reply of "try again later" for ``reason``."""
    return reply_to(Defer(reason), text)


def parse_line(line: bytes) -> tuple[int, bool, str]:
    """One line of a peer's reply, without its line end: code, whether it is the last, text. Raises :class:`ReplyError`."""
    found = _CODE.match(line)
    if not found:
        raise ReplyError("not a line of a reply")
    text = line[found.end() :][:MAX_TEXT].decode("utf-8", "replace")
    return int(found[1]), found[2] != b"-", _CONTROL.sub("?", text)


@lru_cache(maxsize=64)  # most of what a next hop says it has said before
def parse_reply(lines: tuple[bytes, ...]) -> Reply:
    """A peer's whole reply from its lines, without their line ends. Raises :class:`ReplyError`.

    An enhanced code that contradicts the code, or changes from line to line, is left as text: the code decides (RFC 2034 4).
    """
    if not 0 < len(lines) <= MAX_LINES:
        raise ReplyError("too few or too many lines")
    parsed = [parse_line(line) for line in lines]
    code = parsed[0][0]
    if any(other != code for other, _, _ in parsed) or [last for _, last, _ in parsed] != [False] * (len(lines) - 1) + [True]:
        raise ReplyError("lines of a reply do not belong together")
    texts = [text for _, _, text in parsed]
    prefixes = {found[0] if (found := _ENHANCED.match(text)) else "" for text in texts}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    if not prefix or int(prefix[0]) != code // 100:
        return Reply(code, "", tuple(texts))
    return Reply(code, prefix.rstrip(), tuple(text.removeprefix(prefix) for text in texts))
