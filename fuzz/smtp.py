"""Targets: what a client says, what a next hop says, and the wire to the key agents."""

from __future__ import annotations

from collections.abc import Callable

from fuzz import seeds
from fuzz.target import Target, failed, must, outcome, pieces, same
from gateway.edge.keywire import (
    Frame,
    FrameReader,
    Kind,
    Request,
    SignRequest,
    StatusRequest,
    UnwrapRequest,
    WireError,
    read_answer,
    read_request,
    write_frame,
    write_request,
)
from gateway.edge.tosign import input_to_sign
from gateway.smime.keys import Digest, Ecdh, Mechanism, Oaep, Pkcs1
from gateway.smime.signedattributes import signed_attributes
from gateway.smtp.command import parse_command, verb_of
from gateway.smtp.data import ChunkReader, DataReader
from gateway.smtp.hopreply import ReplyReader
from gateway.smtp.lineends import MendedChunks, MendedData
from gateway.smtp.proxy import NoProxyHeader, read_proxy_header
from gateway.smtp.sasl import Exchange, SaslError

LIMIT = 4000
AT = 1_800_000_000_000_000
EVERYTHING = frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "STARTTLS", "AUTH", "REQUIRETLS", "PIPELINING"})
_REQUESTS: tuple[Request, ...] = (
    SignRequest("sign", b"\x31\x00", Mechanism.RSA_PKCS1_SHA256),
    UnwrapRequest("decrypt", Pkcs1(bytes(256), 32)),
    UnwrapRequest("decrypt", Oaep(bytes(256), 32, Digest.SHA256, Digest.SHA1, b"label")),
    UnwrapRequest("decrypt", Ecdh(bytes(40), 32, bytes(91), Digest.SHA256, bytes(20), 32)),
    StatusRequest(),
)


def _command(data: bytes) -> None:
    """A command or the reply to it, never an error; no control character in what is kept."""
    for offered in (EVERYTHING, frozenset[str]()):
        found = parse_command(data, offered, smtputf8=bool(offered), home="hospital.example")
        must("\r" not in str(found) and "\n" not in str(found), "a line end in a command")
    verb_of(data)


def _data(data: bytes) -> None:
    """DATA: what is kept, the fault, and the commands behind it. Where a fault was found nothing of it counts but the end."""
    for mended in (None, MendedData):
        same(lambda given, size, mended=mended: _read_data(given, size, mended), data)  # type: ignore[misc]


def _read_data(data: bytes, size: int, mended: Callable[[], MendedData] | None) -> object:
    reader = DataReader(LIMIT, 5, mended() if mended else None)
    kept, rest = b"", b""
    for piece in pieces(data, size):
        if reader.rest is None:
            kept += reader.feed(piece)
        else:
            rest += piece
    ended = reader.rest is not None
    must(reader.fault is not None or _only_crlf(kept), "a bare line end that is kept")
    return (kept if reader.fault is None else b"", bool(reader.fault), ended, (reader.rest or b"") + rest)


def _only_crlf(data: bytes) -> bool:
    return data.count(b"\r\n") == data.count(b"\r") == data.count(b"\n")


def _chunks(data: bytes) -> None:
    """BDAT."""
    for mended in (None, MendedChunks):
        same(lambda given, size, mended=mended: _read_chunks(given, size, mended), data)  # type: ignore[misc]


def _read_chunks(data: bytes, size: int, mended: Callable[[], MendedChunks] | None) -> object:
    reader = ChunkReader(LIMIT, 5, mended() if mended else None)
    kept = b"".join(reader.feed(piece) for piece in pieces(data, size)) + reader.finish()
    must(reader.fault is not None or _only_crlf(kept), "a bare line end that is kept")
    return kept if reader.fault is None else bool(reader.fault)


def _proxy(data: bytes) -> None:
    """A header that is not whole says so until it is; it never changes by what follows."""
    whole = read_proxy_header(data)
    for end in range(min(len(data), 300) + 1):
        found = read_proxy_header(data[:end])
        if found is not None:
            must(type(found) is type(whole) and (isinstance(found, NoProxyHeader) or found == whole), "a header that changes")
            return


def _hop(data: bytes) -> None:
    """What a next hop says."""
    same(_replies, data)


def _replies(data: bytes, size: int) -> object:
    reader, found = ReplyReader(), []
    for piece in pieces(data, size):
        reader.feed(piece)
        while (reply := reader.take()) is not None:
            found.append(reply)
    return found


def _login(data: bytes) -> None:
    """Credentials, or an error that does not hold them."""
    for mechanism in ("PLAIN", "LOGIN"):
        exchange = Exchange(mechanism)
        try:
            for line in data.split(b"\r\n")[:3]:
                found = exchange.give(line)
                exchange.challenge()
                if found is not None:
                    must(found.password not in repr(found) or len(found.password) < 20, "a password that is shown")
                    break
        except SaslError:
            continue


def _agent(data: bytes) -> None:
    """Frames of the wire between workers and key agents."""
    whole, bytewise = (_frames(data, size) for size in (10**6, 1))
    must(whole == bytewise, "frames that depend on their pieces")


def _frames(data: bytes, size: int) -> object:
    reader = FrameReader()
    found: list[Frame] = []
    try:
        for piece in pieces(data, size):
            found += reader.feed(piece)
    except WireError:
        return WireError
    answers: list[object] = []
    for frame in found:
        for read in (read_request, read_answer):
            try:
                answers.append(outcome(lambda read=read, frame=frame: read(frame)))  # type: ignore[misc]
            except WireError:
                answers.append(WireError)
    return answers


def _to_sign(data: bytes) -> None:
    """The digest of attributes that may be signed, or a refusal."""
    found = outcome(lambda: input_to_sign(data, Mechanism.RSA_PKCS1_SHA256, AT))
    must(failed(found) or isinstance(found, bytes), "neither a digest nor a refusal")


def _proxy_headers() -> list[bytes]:
    signature = bytes.fromhex("0D0A0D0A000D0A515549540A")
    four = b"\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x00\x19"
    return [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\nEHLO x\r\n",
        b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 25\r\n",
        b"PROXY UNKNOWN\r\n",
        signature + b"\x21\x11\x00\x0c" + four,
        signature + b"\x21\x21\x00\x24" + bytes(36),
        signature + b"\x20\x00\x00\x00",
    ]


def _said() -> list[bytes]:
    return [b"250-mail.example\r\n250-SIZE 100\r\n250 DSN\r\n", b"550 5.1.1 no such user\r\n421 bye\r\n", b"250\r\n"]


def _frames_of() -> list[bytes]:
    requests = [write_request(number, request) for number, request in enumerate(_REQUESTS)]
    answers = [write_frame(7, Kind.DONE, (b"signature",)), write_frame(8, Kind.FAILED, (b"KEY_UNAVAILABLE", b"gone"))]
    return [*requests, *answers, b"".join(requests)]


TARGETS = (
    Target("command", _command, seeds.commands),
    Target("data", _data, seeds.texts),
    Target("chunks", _chunks, seeds.texts),
    Target("proxy", _proxy, _proxy_headers),
    Target("hop", _hop, _said),
    Target("login", _login, lambda: [b"AHVzZXIAcGFzc3dvcmQ=", b"dXNlcg==\r\ncGFzc3dvcmQ="]),
    Target("agent", _agent, _frames_of),
    Target("to-sign", _to_sign, lambda: [signed_attributes(bytes(32), each, AT) for each in seeds.certificates()]),
)
