"""LDAP URLs as certificates name them (RFC 4516, RFC 5280 4.2.1.13 and 4.2.2.1): one entry, and attributes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.edge.fetcherror import Fault, FetchError
from gateway.trust.judgement import NeedKind

# RFC 4523 2.5-2.8. What a need may ask for, and asks for where the URL names nothing.
_ATTRIBUTES: Final[dict[NeedKind, tuple[str, ...]]] = {
    NeedKind.CRL: ("certificateRevocationList", "authorityRevocationList", "deltaRevocationList"),
    NeedKind.CERTIFICATE: ("cACertificate",),
}


@dataclass(frozen=True, slots=True)
class LdapUrl:
    """``host`` is a name or a number without brackets; ``attributes`` end in ``;binary`` (RFC 4522); ``tls``: under TLS from the
    first byte.
    """

    host: str
    port: int
    entry: str
    attributes: tuple[str, ...]
    tls: bool = False


def read_ldap_url(url: str, kind: NeedKind) -> LdapUrl:
    """``url``, for a need of ``kind``. Raises :class:`FetchError` (FORBIDDEN) for everything we do not ask.

    ``ldap:///`` means whatever server its reader knows: we know none. The filter is not used, since the entry is named.
    """
    try:
        parts = urlsplit(url)
        tls = parts.scheme == "ldaps"
        port = parts.port or (636 if tls else 389)
        entry = unquote(parts.path.removeprefix("/"), errors="strict")
        names, scope, _, extensions = [*unquote(parts.query, errors="strict").split("?"), "", "", "", ""][:4]
    except ValueError:
        raise FetchError(Fault.FORBIDDEN, "not an LDAP URL") from None
    if not parts.hostname:
        raise FetchError(Fault.FORBIDDEN, "an LDAP URL without a host")
    if "@" in parts.netloc:
        raise FetchError(Fault.FORBIDDEN, "URL with credentials")
    if scope.lower() not in ("", "base") or "!" in extensions or not entry:
        raise FetchError(Fault.FORBIDDEN, "an LDAP URL for more than one entry, or with extensions")
    return LdapUrl(parts.hostname, port, entry, _attributes(names, kind), tls)


def _attributes(names: str, kind: NeedKind) -> tuple[str, ...]:
    known = _ATTRIBUTES.get(kind, ())
    asked = {name.strip().lower().removesuffix(";binary") for name in names.split(",")} - {""}
    chosen = tuple(f"{name};binary" for name in known if not asked or name.lower() in asked)
    if not chosen:
        raise FetchError(Fault.FORBIDDEN, f"no attribute of the LDAP URL holds a {kind}")
    return chosen
