"""A file of users: each line ``name:scrypt$N$r$p$salt$hash``, salt and hash in base64. Passwords are in it only as hashes."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from gateway.config.kinds import Reading, contents, login_name

MAX_MEMORY: Final = 64 * 1024 * 1024
_LINE: Final = re.compile(r"([^:]+):scrypt\$([0-9]{1,7})\$([0-9]{1,2})\$([0-9])\$([A-Za-z0-9+/=]{1,120})\$([A-Za-z0-9+/=]{1,120})")
_ALLOWED: Final = "lines 'name:scrypt$N$r$p$salt$hash', as `user line` makes them"


@dataclass(frozen=True, slots=True)
class Hashed:
    """A password as scrypt (RFC 7914) leaves it: cost ``n``, block size ``r``, parallelism ``p``."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    def __str__(self) -> str:
        """As it stands behind the name in a line of the file."""
        return f"scrypt${self.n}${self.r}${self.p}${b64encode(self.salt).decode()}${b64encode(self.hash).decode()}"


@dataclass(frozen=True, slots=True)
class Users:
    """Who may log in, by name, and the file that says so."""

    by_name: Mapping[str, Hashed] = field(repr=False)
    file: Path = Path()


class UsersError(ValueError):
    """A line of the file is wrong; the text says where and how, and no hash."""


def parse_users(data: bytes) -> Users:
    """The users in the text ``data``; empty lines and such that begin with ``#`` are nothing. Raises :class:`UsersError`."""
    users: dict[str, Hashed] = {}
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        raise UsersError("bytes that are no text") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise UsersError(f"line {number} of another form")
        try:
            name = login_name(found[1])
            salt, digest = (b64decode(text, validate=True) for text in (found[5], found[6]))
        except (ValueError, binascii.Error):
            raise UsersError(f"line {number} of another form") from None
        n, r, p = int(found[2]), int(found[3]), int(found[4])
        if n < 2**14 or n & (n - 1) or r < 8 or p < 1 or 128 * n * r > MAX_MEMORY:
            raise UsersError(f"line {number} with N={n}, r={r}, p={p}, too weak, too large or no power of two")
        if len(salt) < 16 or len(digest) < 32:
            raise UsersError(f"line {number} with a salt under 16 or a hash under 32 bytes")
        if name in users:
            raise UsersError(f"line {number} with the name of a line before")
        users[name] = Hashed(n, r, p, salt, digest)
    if not users:
        raise UsersError("no user")
    return Users(MappingProxyType(users))


def _read(value: object, info: ValidationInfo) -> Users:
    if isinstance(value, Users):
        return value
    if isinstance(value, dict):  # as _written leaves it for our own processes
        return replace(parse_users("\n".join(value["lines"]).encode()), file=Path(value["file"]))
    file = (info.context.base if isinstance(info.context, Reading) else Path()) / str(value)
    try:
        return replace(contents(file, parse_users), file=file)
    except UsersError as error:
        found = f"{error}, in {file}"
    except OSError as error:
        found = f"{error.strerror}: {file}"
    except ValueError:
        found = f"something else in {file}"
    raise PydanticCustomError("wrong", "{allowed}", {"found": found, "allowed": _ALLOWED})


def _written(users: Users) -> dict[str, Path | list[str]]:
    return {"file": users.file, "lines": [f"{name}:{hashed}" for name, hashed in users.by_name.items()]}


UsersFile = Annotated[Users, PlainValidator(_read), PlainSerializer(_written)]
