"""The packets of an encrypted OpenPGP message (RFC 9580, before it 4880): session keys, the data they open, then nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.mail.mime import MimeError
from gateway.outcome import Reason

MAX_SESSION_KEY: Final = 8 * 1024
MAX_SESSION_KEYS: Final = 5000
MAX_ARMOR_LINE: Final = 1000

# Packet types (RFC 9580 5). Type 9 has no integrity, and is believed as little as no encryption.
_PUBLIC_KEY: Final = 1
_PASSWORD: Final = 3
_MARKER: Final = 10
_SEALED: Final = 18
_PADDING: Final = 21

_ENCRYPTING: Final = frozenset({1, 2, 16, 18, 25, 26})  # public-key algorithms (RFC 9580 9.1)
_CIPHERS: Final = frozenset({7, 8, 9, 10, 11, 12, 13})  # of 16-byte blocks (9.3), as AEAD needs; 0 would be no encryption
_MODES: Final = frozenset({1, 2, 3})  # AEAD (9.6)
_MIN_MATERIAL: Final = 32  # bytes of an encrypted session key: fewer are none, by any of these algorithms
_FINGERPRINTS: Final = frozenset({0, 21, 33})  # with the key's version before it; 0: the reader is not named
_MIN_PARTIAL: Final = 512  # RFC 9580 4.2.1.4
# Version 1: prefix of a block and two, modification detection. Version 2: parameters, salt, tags of a chunk and of the whole.
_MIN_SEALED: Final = {1: 1 + 16 + 2 + 22, 2: 4 + 32 + 16 + 16}


def malformed(detail: str) -> MimeError:
    """The error for bytes that are not what the grammar asks for."""
    return MimeError(Reason.MALFORMED, detail)


class ByteStream:
    """Bytes that come in chunks, taken by number or by line. What is taken costs its length, however small the pieces."""

    __slots__ = ("_chunks", "_data", "_position")

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = b""
        self._position = 0

    def ended(self) -> bool:
        """Whether everything was taken."""
        while self._position == len(self._data):
            if not self._fill():
                return True
        return False

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes. Raises :class:`MimeError` where there are fewer."""
        while len(self._data) - self._position < count:
            if not self._fill():
                raise malformed("the data ends inside a packet")
        taken = self._data[self._position : self._position + count]
        self._position += count
        return taken

    def skip(self, count: int) -> None:
        """Leave out ``count`` bytes, however many, in little memory. Raises :class:`MimeError` where there are fewer."""
        while (there := len(self._data) - self._position) < count:
            count -= there
            self._position += there
            if not self._fill():
                raise malformed("the data ends inside a packet")
        self._position += count

    def line(self) -> bytes:
        """The next line with its end; the last may have none. Raises :class:`MimeError` behind the last."""
        return self.take(self._first_end() - self._position)

    def lines(self) -> bytes:
        """All whole lines that are at hand, at least one. Raises as ``line``."""
        return self.take(max(self._first_end(), self._data.rfind(b"\n") + 1) - self._position)

    def unread(self, data: bytes) -> None:
        """Take ``data`` again next."""
        self._data = data + self._data[self._position :]
        self._position = 0

    def _first_end(self) -> int:
        """Where the next line ends, read whole."""
        if self.ended():
            raise malformed("the data ends too early")
        while not (end := self._data.find(b"\n", self._position, self._position + MAX_ARMOR_LINE) + 1):
            if len(self._data) - self._position >= MAX_ARMOR_LINE:
                raise MimeError(Reason.LIMIT, f"a line of more than {MAX_ARMOR_LINE} bytes")
            if not self._fill():
                return len(self._data)
        return end

    def _fill(self) -> bool:
        """One more chunk; whether there was one."""
        chunk = next(self._chunks, None)
        if chunk is not None:
            self._data, self._position = self._data[self._position :] + chunk, 0
        return chunk is not None


@dataclass(frozen=True, slots=True)
class _Length:
    """How long a packet, or the next piece of one, is."""

    size: int
    partial: bool = False


def key_count(chunks: Iterator[bytes]) -> int:
    """To how many public keys the message in ``chunks`` is encrypted: each key named counts once, each unnamed reader as one.

    Raises :class:`MimeError` (MALFORMED, LIMIT) for what is not one encrypted message with integrity, and nothing else.
    """
    stream = ByteStream(chunks)
    readers: set[tuple[int, bytes | int]] = set()
    for number in range(MAX_SESSION_KEYS + 1):
        kind, length = _packet(stream)
        if kind == _SEALED:
            version = _sealed(stream, length)
            if not stream.ended():
                raise malformed("bytes behind the encrypted packet")
            # A session key is for data of its own generation alone (RFC 9580 10.3.2.1)
            return sum(fits == (3 if version == 1 else 6) for fits, _ in readers)
        if kind not in (_PUBLIC_KEY, _PASSWORD, _MARKER, _PADDING) or length.partial or length.size > MAX_SESSION_KEY:
            raise malformed(f"a packet of type {kind} where a session key should be")
        data = stream.take(length.size)
        if kind == _PUBLIC_KEY:
            readers.update(_reader(data, number))
    raise MimeError(Reason.LIMIT, f"more than {MAX_SESSION_KEYS} session keys")


def _packet(stream: ByteStream) -> tuple[int, _Length]:
    """The type and length of the next packet (RFC 9580 4.2)."""
    (first,) = stream.take(1)
    if not first & 0x80:
        raise malformed("no packet")
    if first & 0x40:
        return first & 0x3F, _length(stream)
    if first & 0x03 == 3:
        raise malformed("a packet of unknown length")
    return first >> 2 & 0x0F, _Length(int.from_bytes(stream.take(1 << (first & 0x03))))


def _length(stream: ByteStream) -> _Length:
    """A length of the OpenPGP format (RFC 9580 4.2.1)."""
    (first,) = stream.take(1)
    if first < 192:
        return _Length(first)
    if first < 224:
        return _Length((first - 192 << 8) + stream.take(1)[0] + 192)
    return _Length(int.from_bytes(stream.take(4))) if first == 255 else _Length(1 << (first & 0x1F), partial=True)


def _reader(data: bytes, number: int) -> tuple[tuple[int, bytes | int], ...]:
    """Whom an encrypted session key (RFC 9580 5.1) is for, by its version and its key; ``number`` stands for one not named.

    Nobody where the version or the algorithm is not known.
    """
    if data[:1] == b"\x03":
        key, rest = data[1:9], data[9:]
        hidden = key == bytes(8)
    elif data[:1] == b"\x06" and len(data) > 1 and data[1] in _FINGERPRINTS:
        key, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
        hidden = not key
    else:
        return ()
    if len(rest) <= _MIN_MATERIAL or rest[0] not in _ENCRYPTING:
        return ()
    return ((data[0], number if hidden else key),)


def _sealed(stream: ByteStream, length: _Length) -> int:
    """The version of symmetrically encrypted and integrity protected data (RFC 9580 5.13), which is read to its end."""
    if length.size < (_MIN_PARTIAL if length.partial else _MIN_SEALED[1]):
        raise malformed("encrypted data too short to be any")
    version, cipher, mode, _ = stream.take(4)
    if version not in _MIN_SEALED or (version == 2 and (cipher not in _CIPHERS or mode not in _MODES)):
        raise malformed("encrypted data of an unknown kind")
    if length.size < _MIN_SEALED[version]:
        raise malformed("encrypted data too short to be any")
    stream.skip(length.size - 4)
    while length.partial:
        length = _length(stream)
        stream.skip(length.size)
    return version
