"""What workers and key agents say to each other over a Unix socket. Pure.

A frame is a length (4 bytes), the number of the request (4), a kind (1) and fields, each behind its length (2). An answer
carries the number of its request, so that many may be under way on one connection. Nothing in a frame is trusted: every
length is bounded, a field too many or too few is a :class:`WireError`, and then the connection ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Digest, Ecdh, Kdf, Mechanism, Oaep, Pkcs1, Wrap, WrappedKey

MAX_FRAME: Final = 32 * 1024
MAX_KEY_LENGTH: Final = 64  # bytes of a content-encryption or wrapping key
_HEAD: Final = struct.Struct("!IIB")
_FIELD: Final = struct.Struct("!H")
_WRAP_LENGTHS: Final = {Wrap.AES: (16, 24, 32), Wrap.TRIPLE_DES: (24,)}


class WireError(Exception):
    """The other side does not speak as agreed."""


class TooLongError(WireError):
    """What was to be said is longer than any key needs."""


class Kind(IntEnum):
    """What a frame is: requests first, then answers."""

    SIGN = 1
    UNWRAP_PKCS1 = 2
    UNWRAP_OAEP = 3
    UNWRAP_ECDH = 4
    STATUS = 5
    DONE = 64
    FAILED = 65


@dataclass(frozen=True, slots=True)
class SignRequest:
    """Sign these SignedAttributes with this key."""

    key: str
    to_be_signed: bytes
    mechanism: Mechanism


@dataclass(frozen=True, slots=True)
class UnwrapRequest:
    """Unwrap this with this key."""

    key: str
    wrapped: WrappedKey


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Say how you are: answered with JSON."""


Request = SignRequest | UnwrapRequest | StatusRequest


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came."""

    number: int
    kind: Kind
    fields: tuple[bytes, ...]


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes. Raises :class:`WireError`."""
        self._buffer += data
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4])
            if not _HEAD.size - 4 <= length <= MAX_FRAME:
                raise WireError("frame length")
            if len(self._buffer) < 4 + length:
                return
            frame = bytes(self._buffer[: 4 + length])
            del self._buffer[: 4 + length]
            yield _parse(frame)


def _parse(frame: bytes) -> Frame:
    _, number, kind = _HEAD.unpack_from(frame)
    fields, at = [], _HEAD.size
    while at < len(frame):
        if at + 2 > len(frame):
            raise WireError("field")
        start = at + 2
        at = start + _FIELD.unpack_from(frame, at)[0]
        if at > len(frame):
            raise WireError("field")
        fields.append(frame[start:at])
    try:
        return Frame(number, Kind(kind), tuple(fields))
    except ValueError:
        raise WireError("kind") from None


def write_frame(number: int, kind: Kind, fields: Sequence[bytes]) -> bytes:
    """One frame. Raises :class:`TooLongError`."""
    length = _HEAD.size - 4 + sum(2 + len(field) for field in fields)
    if length > MAX_FRAME:
        raise TooLongError("too long")
    return b"".join((_HEAD.pack(length, number, kind), *(part for field in fields for part in (_FIELD.pack(len(field)), field))))


def write_request(number: int, request: Request) -> bytes:
    """A request as a frame. Raises :class:`TooLongError`."""
    match request:
        case SignRequest(key, to_be_signed, mechanism):
            return write_frame(number, Kind.SIGN, (key.encode(), mechanism.encode(), to_be_signed))
        case UnwrapRequest(key, wrapped):
            return write_frame(number, *_unwrap_fields(key.encode(), wrapped))
        case StatusRequest():
            return write_frame(number, Kind.STATUS, ())


def _unwrap_fields(key: bytes, wrapped: WrappedKey) -> tuple[Kind, Sequence[bytes]]:
    common = [key, wrapped.wrapped, wrapped.length.to_bytes(2)]
    match wrapped:
        case Pkcs1():
            return Kind.UNWRAP_PKCS1, common
        case Oaep(digest=digest, mgf=mgf, label=label):
            return Kind.UNWRAP_OAEP, [*common, digest.encode(), mgf.encode(), label]
        case Ecdh():
            how = (wrapped.kdf.encode(), wrapped.digest.encode(), wrapped.wrap.encode(), wrapped.wrap_length.to_bytes(2))
            return Kind.UNWRAP_ECDH, [*common, *how, wrapped.originator, wrapped.shared_info, wrapped.salt]


def read_request(frame: Frame) -> Request:
    """The request in a frame. Raises :class:`WireError`."""
    try:
        match frame.kind, frame.fields:
            case Kind.SIGN, (key, mechanism, to_be_signed):
                return SignRequest(key.decode(), to_be_signed, Mechanism(mechanism.decode()))
            case Kind.UNWRAP_PKCS1, (key, wrapped, length):
                return UnwrapRequest(key.decode(), Pkcs1(wrapped, _length(length)))
            case Kind.UNWRAP_OAEP, (key, wrapped, length, digest, mgf, label):
                oaep = Oaep(wrapped, _length(length), Digest(digest.decode()), Digest(mgf.decode()), label)
                return UnwrapRequest(key.decode(), oaep)
            case Kind.UNWRAP_ECDH, (key, wrapped, length, kdf, digest, wrap, wrap_length, originator, shared_info, salt):
                size = _length(wrap_length)
                if size not in _WRAP_LENGTHS[Wrap(wrap.decode())]:
                    raise WireError("length")
                by = Digest(digest.decode())
                how = (Kdf(kdf.decode()), Wrap(wrap.decode()), salt)
                return UnwrapRequest(key.decode(), Ecdh(wrapped, _length(length), originator, by, shared_info, size, *how))
            case Kind.STATUS, ():
                return StatusRequest()
    except ValueError:
        raise WireError("value") from None
    raise WireError("request")


def write_failure(number: int, error: GatewayError) -> bytes:
    """The answer to a request that could not be done."""
    return write_frame(number, Kind.FAILED, (error.reason.encode(), error.detail.encode()[:2000]))


def read_answer(frame: Frame) -> bytes:
    """What was asked for. Raises the :class:`GatewayError` the agent gave, or :class:`WireError`."""
    match frame.kind, frame.fields:
        case Kind.DONE, (answer,):
            return answer
        case Kind.FAILED, (reason, detail):
            try:
                raise GatewayError(Reason(reason.decode()), detail.decode(errors="replace"))
            except ValueError:
                raise WireError("reason") from None
    raise WireError("answer")


def _length(field: bytes) -> int:
    length = int.from_bytes(field)
    if len(field) != 2 or not 1 <= length <= MAX_KEY_LENGTH:
        raise WireError("length")
    return length
