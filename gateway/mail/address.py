"""Mail addresses: one strict grammar (RFC 5321 4.1.2, RFC 6531), used for envelopes, headers and certificates alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import idna

MAX_LOCAL: Final = 64  # RFC 5321 4.5.3.1.1, in octets
MAX_ADDRESS: Final = 254  # RFC 5321 4.5.3.1.3 less the angle brackets

_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff]"
_ATOMS: Final = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_DOT_ATOM: Final = re.compile(_ATOMS)
_LOCAL: Final = re.compile(rf'{_ATOMS}|"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"')
_PAIR: Final = re.compile(r"\\(.)")
_TO_ESCAPE: Final = re.compile(r'["\\]')
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")


class AddressError(ValueError):
    """Not one plain mail address."""


@dataclass(frozen=True, slots=True)
class Address:
    """``local`` as written; ``domain`` in lower case with A-labels (RFC 5890), so that equal domains are equal text."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def key(self) -> str:
        """For comparing: the local part as :func:`normal_local` makes it."""
        return f"{normal_local(self.local)}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only an SMTPUTF8 hop (RFC 6531) can carry this address."""
        return not self.local.isascii()


@lru_cache(maxsize=4096)  # one mail asks for its few addresses again and again: envelope, header, keys, certificates
def parse_address(text: str) -> Address:
    """The address in ``text`` (``local@domain``, no angle brackets, no comments, no address literal).

    Raises :class:`AddressError` for anything else.
    """
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL.fullmatch(local):
        raise AddressError("not an address")
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL:
        raise AddressError("local part too long")
    try:
        address = Address(local, normal_domain(domain))
        too_long = len(str(address).encode()) > MAX_ADDRESS
    except UnicodeError as error:
        raise AddressError("not an address") from error
    if too_long:
        raise AddressError("address too long")
    return address


def normal_local(text: str) -> str:
    """The local part ``text`` in lower case, and without quotes that it does not need: a mailbox may be written with and without
    (RFC 5321 4.1.2). Mailboxes that differ by case alone are one in practice; those that ``casefold`` makes one (``ß`` and ``ss``,
    LONG S and ``s``) are not.
    """
    if text.startswith('"'):
        bare = _PAIR.sub(r"\1", text[1:-1])
        text = bare if _DOT_ATOM.fullmatch(bare) else '"' + _TO_ESCAPE.sub(r"\\\g<0>", bare) + '"'
    return text.lower()


@lru_cache(maxsize=4096)
def normal_domain(text: str) -> str:
    """``text`` as lower-case A-labels. Raises :class:`AddressError` for what is no host name."""
    domain = text.lower()
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError as error:
            raise AddressError("not a domain name") from error
    if len(domain) > 253 or not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise AddressError("not a domain name")
    return domain
