"""The kinds of values a section may hold beyond plain text and numbers, each with its own check.

What a value is by itself is always checked. Whether a name leads to a section, and a file holds what it is named for, is
checked where ``load`` gives a :class:`Reading` as the context of validation.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from gateway.config.mistake import one_of
from gateway.mail.address import AddressError, normal_domain, parse_address
from gateway.outcome import GatewayError
from gateway.smime.certificate import any_key
from gateway.trust.name import normal_dn

MAX_FILE: Final = 16 * 1024 * 1024
MAX_RUN: Final = 107 - len("/unwrap-agent-63.sock")  # bytes; the address of a socket holds 107 (unix(7))
_OID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,15})){1,30}")
_RULE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known while a file is read: the directory its relative paths start from, and the names of all sections by kind."""

    base: Path
    names: Mapping[str, Collection[str]]


def domain(text: str) -> str:
    """``text`` in the form of :class:`gateway.mail.address.Address` domains."""
    try:
        return normal_domain(text)
    except AddressError as error:
        raise ValueError("a domain name") from error


def oid(text: str) -> str:
    """``text``, which is an object identifier."""
    if not _OID.fullmatch(text):
        raise ValueError("an object identifier, such as 1.2.250.1.213.1.7.1")
    return text


def numeric(text: str) -> str:
    """``text``, which is an IP address."""
    try:
        ip_address(text)
    except ValueError as error:
        raise ValueError("an IP address, such as 127.0.0.1 or ::") from error
    return text


def sources(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """``addresses``, of which each family has one at most."""
    if len({ip_address(address).version for address in addresses}) < len(addresses):
        raise ValueError("one IPv4 and one IPv6 address at most")
    return addresses


def login_name(text: str) -> str:
    """``text``, which can be a user's name."""
    if not 0 < len(text) <= 255 or not text.isprintable():
        raise ValueError("1 to 255 printable characters")
    return text


def host(text: str) -> str:
    """``text``, which is an IP address or a host name."""
    try:
        ip_address(text)
    except ValueError:
        try:
            return normal_domain(text)
        except AddressError as error:
            raise ValueError("a host name or an IP address") from error
    return text


def network(text: str) -> str:
    """``text``, which is a network or one address."""
    try:
        ip_network(text)
    except ValueError as error:
        first = "host bits" in str(error)
        raise ValueError("the first address of the network" if first else "a network such as 10.1.0.0/24 or fd00::/8") from error
    return text


def mailbox(text: str) -> str:
    """``text``, which is one address."""
    try:
        parse_address(text)
    except AddressError as error:
        raise ValueError("an address, local@domain") from error
    return text


def pattern(text: str) -> str:
    """``text``, which is an address or stands for all addresses of a domain."""
    example = "any@" + text.removeprefix("@").removeprefix("*.") if text.startswith("@") else text
    try:
        parse_address(example)
    except AddressError as error:
        raise ValueError("local@domain, @domain or @*.domain") from error
    return text


def subject(text: str) -> str:
    """``text``, which is a distinguished name as RFC 4514 writes it."""
    try:
        normal_dn(text)
    except ValueError as error:
        raise ValueError("a full subject name, such as CN=gateway,O=Laboratory,C=FR") from error
    return text


def rule_name(text: str) -> str:
    """``text``, which is a name that no default has."""
    if not _RULE.fullmatch(text) or text.startswith(("default-", "report-")):
        raise ValueError("lower-case letters, digits, '_', '-' and '.', not beginning with 'default-' or 'report-'")
    return text


def user(text: str, info: ValidationInfo) -> str:
    """``text``, which is a user of this system."""
    if isinstance(info.context, Reading):
        try:
            pwd.getpwnam(text)
        except (KeyError, ValueError) as error:
            raise ValueError("a user of this system") from error
    return text


def first_public_key(data: bytes) -> PublicKeyTypes:
    """The public key of the first certificate of a PEM file. Raises ValueError."""
    try:
        return any_key(first_certificate(data))
    except GatewayError as error:
        raise ValueError(error.detail) from error


def first_certificate(data: bytes) -> bytes:
    """The first certificate of a PEM file, as DER."""
    return x509.load_pem_x509_certificates(data)[0].public_bytes(serialization.Encoding.DER)


def private_half(data: bytes) -> PublicKeyTypes:
    """The public key that belongs to the private key of a PEM file."""
    return serialization.load_pem_private_key(data, None).public_key()


def rsa_public_key(data: bytes) -> RSAPublicKey:
    """The RSA key of a PEM public key file."""
    key = serialization.load_pem_public_key(data)
    if not isinstance(key, RSAPublicKey):
        raise TypeError("not RSA")
    return key


def contents(file: Path, parse: Callable[[bytes], T]) -> T:
    """What ``parse`` makes of ``file``. Raises OSError where it cannot be read and ValueError where it is something else."""
    with file.open("rb") as stream:
        data = stream.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError("too large")
    try:
        return parse(data)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("of another kind") from error


def _absolute(path: Path, info: ValidationInfo) -> Path:
    return info.context.base / path if isinstance(info.context, Reading) else path


def _not_too_deep(path: Path, info: ValidationInfo) -> Path:
    """The sockets of our processes lie in it, and their addresses are short (unix(7))."""
    if isinstance(info.context, Reading) and len(os.fsencode(path)) > MAX_RUN:
        raise wrong(f"{len(os.fsencode(path))} bytes: {path}", f"a path of at most {MAX_RUN} bytes, since sockets lie below it")
    return path


def _holding(parse: Callable[[bytes], object], allowed: str, *, let: tuple[type[OSError], ...] = ()) -> AfterValidator:
    """``let`` are errors of opening the file that are no mistake."""

    def check(file: Path, info: ValidationInfo) -> Path:
        if isinstance(info.context, Reading):
            try:
                contents(file, parse)
            except let:
                pass
            except OSError as error:
                raise wrong(f"{error.strerror}: {file}", allowed) from error
            except ValueError as error:
                raise wrong(f"something else in {file}", allowed) from error
        return file

    return AfterValidator(check)


def _present(file: Path, info: ValidationInfo) -> Path:
    """Being kept from looking is no mistake: perhaps only the key agents may."""
    if isinstance(info.context, Reading):
        try:
            found = "" if file.stat() and file.is_file() else f"no ordinary file: {file}"
        except PermissionError:
            found = ""
        except (OSError, ValueError) as error:
            found = f"{getattr(error, 'strerror', None) or 'no file name'}: {file}"
        if found:
            raise wrong(found, "a file that is there")
    return file


def _folder(path: Path, info: ValidationInfo) -> Path:
    if isinstance(info.context, Reading):
        try:
            there = path.is_dir()
        except OSError:  # a name that is too long, or a way there that we may not go
            there = False
        if not there:
            raise wrong(f"no directory {path}", "a directory that is there")
    return path


def _leads_to(kind: str, also: str | None = None) -> AfterValidator:
    what = "the name of a file in zones/" if kind == "zone" else f"the name of a [{kind}.NAME] section"

    def check(name: str, info: ValidationInfo) -> str:
        names = info.context.names.get(kind, ()) if isinstance(info.context, Reading) else (name,)
        if name not in names and name != also:
            raise ValueError(one_of(names, name, what))
        return name

    return AfterValidator(check)


def wrong(found: str, allowed: str) -> PydanticCustomError:
    """The mistake of a value: what was found, and what is allowed."""
    return PydanticCustomError("wrong", "{allowed}", {"found": found, "allowed": allowed})


Domain = Annotated[str, AfterValidator(domain)]
Numeric = Annotated[str, AfterValidator(numeric)]
Sources = Annotated[tuple[Numeric, ...], AfterValidator(sources)]
LoginName = Annotated[str, AfterValidator(login_name)]
Host = Annotated[str, AfterValidator(host)]
Oid = Annotated[str, AfterValidator(oid)]
Network = Annotated[str, AfterValidator(network)]
Mailbox = Annotated[str, AfterValidator(mailbox)]
Pattern = Annotated[str, AfterValidator(pattern)]
DistinguishedName = Annotated[str, AfterValidator(subject)]
User = Annotated[str, AfterValidator(user)]
RuleName = Annotated[str, AfterValidator(rule_name)]
Port = Annotated[int, Field(ge=1, le=65535)]
Megabytes = Annotated[int, Field(ge=1, le=2048)]
GraceHours = Annotated[float, Field(ge=0, le=720)]

File = Annotated[Path, AfterValidator(_absolute)]
RunFolder = Annotated[File, AfterValidator(_not_too_deep)]
PresentFile = Annotated[File, AfterValidator(_present)]
Folder = Annotated[File, AfterValidator(_folder)]
CertificateFile = Annotated[File, _holding(first_public_key, "a PEM file of certificates")]
RsaKeyFile = Annotated[File, _holding(rsa_public_key, "a PEM file with an RSA public key")]
TlsKeyFile = Annotated[File, _holding(private_half, "a PEM private key without a passphrase", let=(PermissionError,))]
TextFile = Annotated[File, _holding(bytes.decode, "a text in UTF-8")]

KeyName = Annotated[str, _leads_to("key")]
TlsName = Annotated[str, _leads_to("tls")]
ZoneName = Annotated[str, _leads_to("zone")]
ZonePattern = Annotated[str, _leads_to("zone", also="*")]
RouteName = Annotated[str, _leads_to("route")]
DirectoryName = Annotated[str, _leads_to("directory")]
OrganisationName = Annotated[str, _leads_to("organisation")]
