"""Whether an entity is mail through and through, or has noise in it.

Who holds a ciphertext in CBC can put blocks of his own into it, each beside a block of noise (EFAIL): 16 bytes that nobody chose.
What an entity says of itself, part by part, leaves noise next to no room: one block in 65,000 looks like ASCII, fewer like UTF-8.
Where a part says that it is binary, or text in another charset, nothing much can be seen.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Final

from gateway.mail.walk import Aside, Delimiter, Head, walk
from gateway.outcome import GatewayError

# No text has them: C0 without TAB, LF, FF, CR, and what ISO 2022 switches charsets with (SO, SI, ESC); DEL.
_CONTROLS: Final = bytes(each for each in range(32) if each not in b"\t\n\x0c\r\x0e\x0f\x1b") + b"\x7f"
_OPAQUE: Final = frozenset({"8bit", "binary"})


def is_clean(chunks: Iterable[bytes]) -> bool:
    """Whether every part of the entity in ``chunks`` is what its header says, and can be read in one way only."""
    check = _Part("utf-8")
    try:
        for piece in walk(chunks):
            if isinstance(piece, Head):
                check.finalize()
                _Part("utf-8").update(piece.raw, final=True)  # RFC 6532
                check = _Part(_charset(piece))
            elif isinstance(piece, Aside | Delimiter):
                check.finalize()
                _Part("ascii").update(piece.data, final=True)
            else:
                check.update(piece.data)
        check.finalize()
    except (GatewayError, UnicodeError):
        return False
    return True


def _charset(head: Head) -> str:
    """What the content has to be: ``ascii``, ``utf-8``, ``other`` text, or anything ("")."""
    if head.encoding not in _OPAQUE or head.type.type.startswith("multipart/"):
        return "ascii"  # 7bit too, and that is the default (RFC 2045 6.1); a multipart has nothing of its own
    if not head.type.type.startswith("text/"):
        return ""
    return "utf-8" if head.type.params.get("charset", "").lower() in {"utf-8", "utf8"} else "other"


class _Part:
    """Looks at the content of one part. Raises UnicodeError for what cannot be there."""

    __slots__ = ("_charset", "_decoder")

    def __init__(self, charset: str) -> None:
        self._charset = charset
        self._decoder = codecs.getincrementaldecoder("utf-8")() if charset == "utf-8" else None

    def update(self, data: bytes, *, final: bool = False) -> None:
        """The next bytes; ``final``: and the last."""
        if self._decoder is not None:
            self._decoder.decode(data, final)
        elif self._charset == "ascii" and not data.isascii():
            raise UnicodeError("8-bit bytes where there are none")
        if self._charset and data.translate(None, _CONTROLS) != data:
            raise UnicodeError("control characters in text")

    def finalize(self) -> None:
        """Nothing more will come."""
        self.update(b"", final=True)
