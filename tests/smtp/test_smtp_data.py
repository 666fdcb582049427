"""Reading a message: transparency, the one true end, and a name for every fault."""

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.data import ChunkReader, DataReader, Fault

LIMIT = 1_000_000
Feed = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    yield from (data[index : index + 1] for index in range(len(data)))


def read(pieces: Iterator[bytes], limit: int = LIMIT, received: int = 50) -> tuple[DataReader, bytes]:
    """Feeds until the end was seen; the bytes not fed then belong to ``rest``."""
    reader = DataReader(limit, received)
    kept = b""
    for piece in pieces:
        kept += reader.feed(piece)
        if reader.rest is not None:
            reader.rest += b"".join(pieces)
    return reader, kept


@pytest.fixture(params=[whole, bytewise])
def fed(request: pytest.FixtureRequest) -> Feed:
    feed: Feed = request.param
    return feed


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"A: b\r\n\r\ntext\r\n.\r\n", b"A: b\r\n\r\ntext\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n..a\r\n.b\r\n.\r\n", b"..\r\n.a\r\nb\r\n"),
        (b"a\r\n..\r\n..\r\n.\r\n", b"a\r\n.\r\n.\r\n"),
        (b"." + b"a" * 998 + b"\r\n.\r\n", b"a" * 998 + b"\r\n"),
        (b"a" * 998 + b"\r\n" + b"b" * 998 + b"\r\n.\r\n", b"a" * 998 + b"\r\n" + b"b" * 998 + b"\r\n"),
        (b"\xe9\xff\x80\r\n.\r\n", b"\xe9\xff\x80\r\n"),
    ],
)
def test_transparency(fed: Feed, wire: bytes, message: bytes) -> None:
    reader, kept = read(fed(wire + b"QUIT\r\n"))
    assert (kept, reader.rest, reader.fault, reader.size) == (message, b"QUIT\r\n", None, len(message))


@pytest.mark.parametrize(
    ("trick", "fault"),
    [
        (b"\n.\n", Fault.BARE_LF),
        (b"\n.\r\n", Fault.BARE_LF),
        (b"\r\n.\n", Fault.BARE_LF),
        (b"\r.\r\n", Fault.BARE_CR),
        (b"\r\n.\r", Fault.BARE_CR),
        (b"\r.\r", Fault.BARE_CR),
        (b"\r\r\n.\r\r\n", Fault.BARE_CR),
        (b"\n\n.\r\n", Fault.BARE_LF),
        (b"\r\n\0.\r\n", Fault.NUL),
        (b"\r\n.\0\r\n", Fault.NUL),
        (b"a" * 999, Fault.LONG_LINE),
        (b"a" * 999 + b"\r\n", Fault.LONG_LINE),
        (b"." + b"a" * 100_000 + b"\r\n.", Fault.LONG_LINE),
    ],
)
def test_nothing_but_crlf_dot_crlf_ends_a_message(fed: Feed, trick: bytes, fault: Fault) -> None:
    """What other servers took for an end is content, and the message is refused at the true end."""
    smuggled = b"MAIL FROM:<admin@hospital.example>\r\n"
    reader, _ = read(fed(b"A: b\r\n\r\ntext" + trick + smuggled + b"\r\n.\r\nNOOP\r\n"))
    assert (reader.fault, reader.rest) == (fault, b"NOOP\r\n")


def test_over_the_limit_is_read_to_its_end(fed: Feed) -> None:
    reader, _ = read(fed(b"a: b\r\n" * 20 + b".\r\nNOOP\r\n"), limit=100)
    assert (reader.fault, reader.rest, reader.size) == (Fault.TOO_LARGE, b"NOOP\r\n", 120)


def test_the_limit_itself_is_allowed(fed: Feed) -> None:
    reader, kept = read(fed(b"12345678\r\n" * 10 + b".\r\n"), limit=100)
    assert (reader.fault, len(kept)) == (None, 100)


def test_trace_lines_are_counted_in_the_header_alone(fed: Feed) -> None:
    trace = b"Received: from a\r\n\tby b\r\nRECEIVED : x\r\n"
    assert read(fed(trace + b"\r\nReceived: c\r\n.\r\n"), received=2)[0].fault is None
    assert read(fed(trace + b"received:c\r\n\r\n.\r\n"), received=2)[0].fault is Fault.LOOP
    assert read(fed(b"\r\n" + trace + b".\r\n"), received=1)[0].fault is None


def test_an_endless_header_is_refused() -> None:
    wire = b"X-Padding: " + b"a" * 80 + b"\r\n"
    assert read(whole(wire * 4000 + b"\r\n.\r\n"))[0].fault is Fault.LONG_HEADER
    assert read(whole(wire * 2000 + b"\r\n" + wire * 2000 + b".\r\n"))[0].fault is None


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_is_refused_for_good(fault: Fault) -> None:
    assert fault.reply.permanent


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\0"]), max_size=30), st.integers(1, 7))
def test_the_pieces_do_not_matter(parts: list[bytes], step: int) -> None:
    wire = b"".join(parts) + b"\r\n.\r\n"
    once, kept = read(whole(wire))
    again, kept_again = read(iter([wire[index : index + step] for index in range(0, len(wire), step)]))
    assert (once.rest, bool(once.fault), once.size) == (again.rest, bool(again.fault), again.size)
    assert once.fault or kept == kept_again


def test_chunks_keep_dots_and_need_no_line_ends_between_them() -> None:
    reader = ChunkReader(LIMIT, 50)
    kept = b"".join(reader.feed(chunk) for chunk in (b"A: b\r\n\r", b"\n.\r\n..x", b"y\r\n", b"")) + reader.finish()
    assert (kept, reader.fault) == (b"A: b\r\n\r\n.\r\n..xy\r\n", None)


def test_the_last_line_of_the_last_chunk_gets_its_end() -> None:
    reader = ChunkReader(LIMIT, 50)
    assert reader.feed(b"A: b\r\n\r\nend") + reader.finish() == b"A: b\r\n\r\nend\r\n"


@pytest.mark.parametrize(("chunk", "fault"), [(b"a\nb\r\n", Fault.BARE_LF), (b"a\r", Fault.BARE_CR), (b"\0", Fault.NUL)])
def test_chunks_are_lines_too(chunk: bytes, fault: Fault) -> None:
    """BINARYMIME (RFC 3030 3) is not offered."""
    reader = ChunkReader(LIMIT, 50)
    reader.feed(chunk)
    reader.finish()
    assert reader.fault is fault


def test_large_bodies_pass_quickly() -> None:
    """A guard against reading in quadratic time: 16 MB in the usual pieces."""
    reader = DataReader(2**30, 50)
    piece = (b"a" * 76 + b"\r\n") * 840
    began = time.process_time()
    for _ in range(250):
        reader.feed(piece)
    assert time.process_time() - began < 2
