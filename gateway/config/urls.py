"""The URLs a section may hold: places of servers, and of CRLs."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.config.kinds import host

MAX_CRLS: Final = 256
_LDAP: Final = re.compile(r"ldaps?://([^/:@?#\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?")
_PROXY: Final = re.compile(r"http://([^/:@?#\[\]]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}/?")


def ldap_uri(text: str) -> str:
    """``text``, which is the place of an LDAP server and no more: what is searched for has keys of its own."""
    matched = _LDAP.fullmatch(text)
    try:
        host(matched[1].strip("[]") if matched else "")
    except ValueError as error:
        raise ValueError("ldap://HOST or ldaps://HOST, with :PORT where it is not the usual") from error
    return text


def proxy_url(text: str) -> str:
    """``text``, which is the place of an HTTP proxy."""
    matched = _PROXY.fullmatch(text)
    try:
        host(matched[1].strip("[]") if matched else "")
    except ValueError as error:
        raise ValueError("http://HOST:PORT") from error
    return text


def crl_url(text: str) -> str:
    """``text``, which is a place a CRL can be fetched from."""
    try:
        parts = urlsplit(text)
        host(parts.hostname or "")
        allowed = parts.scheme in ("http", "https", "ldap", "ldaps") and "@" not in parts.netloc and (parts.port or 1) > 0
    except ValueError:
        allowed = False
    if not allowed:
        raise ValueError("http://, https://, ldap:// or ldaps:// with a host, and without a password")
    return text


LdapUri = Annotated[str, AfterValidator(ldap_uri)]
ProxyUrl = Annotated[str, AfterValidator(proxy_url)]
CrlUrls = Annotated[tuple[Annotated[str, AfterValidator(crl_url)], ...], Field(max_length=MAX_CRLS)]
