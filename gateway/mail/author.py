"""Whom a mail program will show as the author, where that is a question at all.

``from_address`` reads the one address. A program may show something else: a display name that is an address, encoded words it
decodes where none may stand (RFC 2047 5), characters one does not see. What a signature proves of the address is then not what its
reader believes.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from gateway.mail.address import Address
from gateway.mail.message import Header, MessageError, from_address
from gateway.outcome import Reason

_SEPARATORS: Final = re.compile(r"""[\s"'<>()\[\]{},;:|]+""")
_ENCODED_WORD: Final = re.compile(r"=\?.*\?=")
_SPECIALS: Final = re.compile(r"""[\s"'@<>()\[\],;:\\]""")


def shown_author(header: Header) -> Address:
    """The one author, of whom no part of the From says that it is somebody else.

    Raises :class:`MessageError` (FROM_AMBIGUOUS) as :func:`from_address` does, and for a name or a local part that shows
    another address, or that cannot be seen as it is.
    """
    author = from_address(header)
    if not _plain(author.local):
        raise MessageError(Reason.FROM_AMBIGUOUS, "the local part of From may be shown as something else")
    name = header.all("From")[0].text.rpartition("<")[0]
    if any(unicodedata.category(each) in {"Cc", "Zl", "Zp"} and each != "\t" for each in name):
        raise MessageError(Reason.FROM_AMBIGUOUS, "the display name of From has control characters")
    if _ENCODED_WORD.search(name):
        raise MessageError(Reason.FROM_AMBIGUOUS, "the display name of From has an encoded word that others may decode")
    if any(_is_another(word, author) for word in _SEPARATORS.split(_visible(name))):
        raise MessageError(Reason.FROM_AMBIGUOUS, "the display name of From shows another address")
    return author


def _plain(local: str) -> bool:
    """Whether a local part is shown as it is: no quoted string, no encoded word, nothing invisible, nothing like an at sign."""
    folded = unicodedata.normalize("NFKC", local)
    return folded.isprintable() and local.isprintable() and not _SPECIALS.search(folded) and not _ENCODED_WORD.search(local)


def _visible(name: str) -> str:
    """A display name as the eye takes it: look-alikes of ASCII as ASCII (NFKC), and nothing that cannot be seen."""
    folded = unicodedata.normalize("NFKC", name.replace("\\", ""))
    return "".join(each for each in folded if unicodedata.category(each) != "Cf")


def _is_another(word: str, author: Address) -> bool:
    """Whether a word of the display name is, or looks like, an address that is not the author's."""
    return "@" in word and word.strip(".").lower() not in {author.key, f"mailto:{author.key}"}
