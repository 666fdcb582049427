"""Distinguished names, compared the way directories compare them: whole, in order, and blind to how they were typed."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from cryptography import x509

NormalName = tuple[tuple[tuple[str, str], ...], ...]
"""Relative names in the order of the certificate (country first, as a rule); each a sorted set of (OID, prepared value)."""

MAX_NAME: Final = 4096

# RFC 4514 3 names the first nine; the others are what OpenSSL, ETSI EN 319 412-1 and administrators write.
_ATTRIBUTES: Final = {
    "CN": "2.5.4.3",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "C": "2.5.4.6",
    "STREET": "2.5.4.9",
    "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
    "E": "1.2.840.113549.1.9.1",
    "EMAIL": "1.2.840.113549.1.9.1",
    "EMAILADDRESS": "1.2.840.113549.1.9.1",
    "SERIALNUMBER": "2.5.4.5",
    "SN": "2.5.4.4",
    "SURNAME": "2.5.4.4",
    "GN": "2.5.4.42",
    "GIVENNAME": "2.5.4.42",
    "T": "2.5.4.12",
    "TITLE": "2.5.4.12",
    "POSTALCODE": "2.5.4.17",
    "PSEUDONYM": "2.5.4.65",
    "ORGANIZATIONIDENTIFIER": "2.5.4.97",
}
_OVERRIDES: Final = {
    spelling: x509.ObjectIdentifier(oid)
    for name, oid in _ATTRIBUTES.items()
    for spelling in (name, name.lower(), name.capitalize())
} | {
    "emailAddress": x509.ObjectIdentifier("1.2.840.113549.1.9.1"),
    "serialNumber": x509.ObjectIdentifier("2.5.4.5"),
    "givenName": x509.ObjectIdentifier("2.5.4.42"),
    "postalCode": x509.ObjectIdentifier("2.5.4.17"),
    "organizationIdentifier": x509.ObjectIdentifier("2.5.4.97"),
}

# Spaces that people put around ``,`` ``+`` and ``=``, and RFC 4514 does not; what a backslash escapes stays.
_AROUND_SEPARATORS: Final = re.compile(r"(?<!\\)\s*(?<!\\)([,+])\s*(?=[A-Za-z0-9.-]+\s*=)")
_AROUND_EQUALS: Final = re.compile(r"(^|(?<!\\)[,+])([A-Za-z0-9.-]+)\s*=\s*")


@lru_cache(maxsize=8192)
def normal_dn(text: str) -> NormalName:
    """The name written as ``text`` (RFC 4514: most specific first, ``CN=...,O=...,C=FR``). Raises ValueError if it is none."""
    if len(text) > MAX_NAME:
        raise ValueError("name too long")
    joined = _AROUND_EQUALS.sub(r"\1\2=", _AROUND_SEPARATORS.sub(r"\1", text.strip()))
    try:
        name = x509.Name.from_rfc4514_string(joined, _OVERRIDES)
    except ValueError:
        raise ValueError("not a name such as CN=...,O=...,C=FR (RFC 4514)") from None
    if not name.rdns:
        raise ValueError("empty name")
    return normal_name(name)


def normal_name(name: x509.Name) -> NormalName:
    """``name`` prepared for comparing. Two names are one name if and only if this is equal."""
    return tuple(tuple(sorted((pair.oid.dotted_string, _prepare(pair.value)) for pair in rdn)) for rdn in name.rdns)


def common_names(name: NormalName) -> tuple[str, ...]:
    """The prepared common names in ``name``."""
    return tuple(value for rdn in name for oid, value in rdn if oid == "2.5.4.3")


def organisation_names(name: NormalName) -> frozenset[str]:
    """The prepared organisation names in ``name``."""
    return frozenset(value for rdn in name for oid, value in rdn if oid == "2.5.4.10")


def _prepare(value: str | bytes) -> str:
    """RFC 4518 2.1-2.6: every kind of space one SPACE, invisible characters nothing, NFKC, case folded, spaces collapsed."""
    if isinstance(value, bytes):
        return "#" + value.hex()
    if value.isascii() and value.isprintable():  # most are, and of all this only case and spaces apply to them
        return " ".join(value.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    visible = "".join(" " if character.isspace() else character for character in folded if not _ignored(character))
    return " ".join(visible.split())


def _ignored(character: str) -> bool:
    """RFC 4518 2.2 maps these to nothing: format and control characters that are no white space, and variation selectors."""
    return (unicodedata.category(character) in {"Cf", "Cc"} and not character.isspace()) or "\ufe00" <= character <= "\ufe0f"
