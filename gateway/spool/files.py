"""Bodies at rest: immutable, encrypted in segments under a key of their own. Files ``bodies/XX/NAME``, but for small ones,
which lie in the database in the same form.

A file is a header (magic, version, epoch, name, salt) and segments of 64 KiB, each AES-256-GCM with a tag of 16 bytes. The
body's key is HMAC-SHA256 of the whole header under the epoch key, so a header that was changed, or a file that was renamed,
opens nothing. A segment's nonce is its number and whether it is the last, so none can be left out, repeated or moved.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import struct
from collections.abc import Callable, Iterator
from io import BytesIO, RawIOBase
from itertools import count
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.database.disk import sync_directory
from gateway.mail.identifier import RANDOM_BYTES, is_mail_id, make_mail_id
from gateway.outcome import GatewayError, Reason
from gateway.spool.epoch import Epoch, EpochKeys

SEGMENT: Final = 64 * 1024
TAG: Final = 16
SALT: Final = 16
HEADER: Final = struct.Struct(">8sH26s53s16s")
MAGIC: Final = b"SMGWBODY"
VERSION: Final = 1
_SHELF: Final = slice(5, 7)  # of the name's time: a new directory every 33 seconds, so that bodies stored together share one


class BodyDamagedError(GatewayError):
    """A body is missing, or is not what was written. Trying again does not help; the row should be set aside."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.SPOOL_UNAVAILABLE, detail)


class BodyFiles:
    """The directory of bodies, as one process sees it. ``owner`` is that process's identifier and ends each name it gives."""

    def __init__(self, directory: Path, owner: str, keys: EpochKeys, now: Callable[[], int], free: Callable[[], int]) -> None:
        """``free`` gives the free bytes of the disk."""
        self.directory = directory
        self.owner = owner
        self.keys = keys
        self.now = now
        self.free = free
        self._given = count()
        self._shelves: set[str] = set()

    def path(self, name: str) -> Path:
        """Where the body named ``name`` lies. Raises ``ValueError`` for what is no name of a body."""
        if owner_of(name) is None:
            raise ValueError("not the name of a body")
        return self.directory / name[_SHELF] / name

    def new_name(self) -> str:
        """A name no body has. No secret: a number does, since ``owner`` is nobody else's."""
        return f"{make_mail_id(self.now(), next(self._given).to_bytes(RANDOM_BYTES))}-{self.owner}"

    def create_file(self, name: str) -> int:
        """A new empty file for a body; returns its descriptor. The entry of its directory is on disk on return."""
        path = self.path(name)
        shelf = path.parent.name
        if shelf not in self._shelves:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self.directory)
            self._shelves.add(shelf)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def delete(self, name: str) -> None:
        """Remove a body, if it is there."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[list[str]]:
        """The names of all bodies, one directory at a time."""
        for shelf in sorted(self.directory.iterdir()):
            yield [entry.name for entry in os.scandir(shelf) if owner_of(entry.name) is not None]


def owner_of(name: str) -> str | None:
    """The identifier of the process that wrote the body named ``name``; None if that is no name of a body."""
    body, dash, owner = name.partition("-")
    return owner if dash and is_mail_id(body) and is_mail_id(owner) else None


class SealedFile:
    """A body's file while it is written. What fails is removed again."""

    def __init__(self, files: BodyFiles, name: str, epoch: Epoch) -> None:
        """Raises ``OSError``."""
        self._files = files
        self._name = name
        self._index = 0
        self._descriptor = files.create_file(name)
        header = make_header(name, epoch.id)
        self._cipher = body_cipher(files.keys.key(epoch.id), header)
        self._write(header)

    def append(self, segment: bytes, *, last: bool) -> None:
        """The next segment: ``SEGMENT`` bytes, or fewer if it is the last. Raises ``OSError``."""
        self._write(self._cipher.encrypt(nonce(self._index, last=last), segment, None))
        self._index += 1

    def sync(self) -> None:
        """The content is on disk on return, the file closed. Raises ``OSError``."""
        try:
            os.fsync(self._descriptor)
        except OSError:
            self.remove()
            raise
        self.close()

    def close(self) -> None:
        """Let go of the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        """As if it had never been. What cannot be removed now is swept as an orphan later."""
        with contextlib.suppress(OSError):
            self.close()
            self._files.delete(self._name)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.remove()
            raise


def read_file(files: BodyFiles, name: str, size: int, epoch: str) -> Iterator[bytes]:
    """The ``size`` bytes of the body in a file, one segment at a time.

    Raises :class:`BodyDamagedError`, ``GatewayError`` (KEY_UNAVAILABLE) and ``OSError``.
    """
    try:
        file = files.path(name).open("rb", buffering=0)
    except (FileNotFoundError, ValueError):
        raise BodyDamagedError(f"body {name!a} is missing") from None
    with file:
        yield from read_sealed(file, name, size, files.keys.key(epoch), epoch)


def read_sealed(file: RawIOBase | BytesIO, name: str, size: int, epoch_key: bytes, epoch: str) -> Iterator[bytes]:
    """The ``size`` bytes of a body, one segment at a time. Raises :class:`BodyDamagedError` and ``OSError``."""
    header = file.read(HEADER.size) or b""
    expected = (MAGIC, VERSION, epoch.encode(), name.encode())
    if len(header) != HEADER.size or HEADER.unpack(header)[:4] != expected:
        raise BodyDamagedError(f"body {name} has a wrong header")
    cipher = body_cipher(epoch_key, header)
    segments = max(1, -(-size // SEGMENT))
    for index in range(segments):
        last = index == segments - 1
        length = size - index * SEGMENT if last else SEGMENT
        try:
            # One byte more is asked of the last segment, so that anything behind it is noticed.
            plain = cipher.decrypt(nonce(index, last=last), file.read(length + TAG + last) or b"", None)
        except InvalidTag:
            raise BodyDamagedError(f"body {name} does not open at segment {index}") from None
        if len(plain) != length:
            raise BodyDamagedError(f"body {name} is longer than its row says")
        if plain:
            yield plain


def seal_small(data: bytes, name: str, epoch_key: bytes, epoch: str) -> bytes:
    """A body of one segment in the form of its file."""
    header = make_header(name, epoch)
    return header + body_cipher(epoch_key, header).encrypt(nonce(0, last=True), data, None)


def make_header(name: str, epoch: str) -> bytes:
    """What a body's file begins with."""
    return HEADER.pack(MAGIC, VERSION, epoch.encode(), name.encode(), os.urandom(SALT))


def body_cipher(epoch_key: bytes, header: bytes) -> AESGCM:
    """What encrypts the segments of the one body with this header."""
    return AESGCM(hmac.digest(epoch_key, header, "sha256"))


def nonce(index: int, *, last: bool) -> bytes:
    """The nonce of a segment: 11 bytes of its number, one of whether it is the last."""
    return index.to_bytes(11) + bytes([last])


def free_space(*folders: Path) -> int:
    """Free bytes for us on the disk that has the least, of those that ``folders`` lie on. Raises ``OSError``."""
    facts = [os.statvfs(folder) for folder in folders]
    return min(each.f_bavail * each.f_frsize for each in facts)
