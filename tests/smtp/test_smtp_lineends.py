"""Bare CR and LF of our own servers made CRLF: nothing but the true end ends a message, whatever pieces it comes in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.data import ChunkReader, DataReader, Fault
from gateway.smtp.lineends import _END as END
from gateway.smtp.lineends import MendedChunks, MendedData

LIMIT = 100_000
BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
ODD = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"Received: x", b"\r\n.\r\n"]), max_size=30).map(b"".join)


def by_data(pieces: Sequence[bytes]) -> tuple[bytes, bytes | None, Fault | None]:
    """The message, what is left behind its end, and the fault."""
    reader, kept = DataReader(LIMIT, 50, MendedData()), b""
    for number, piece in enumerate(pieces):
        kept += reader.feed(piece)
        if reader.rest is not None:
            return kept, reader.rest + b"".join(pieces[number + 1 :]), reader.fault
    return kept, None, reader.fault


def by_chunks(pieces: Sequence[bytes]) -> tuple[bytes, Fault | None]:
    reader = ChunkReader(LIMIT, 50, MendedChunks())
    kept = b"".join([reader.feed(piece) for piece in pieces])
    return kept + reader.finish(), reader.fault


def octets(data: bytes) -> list[bytes]:
    return [bytes([octet]) for octet in data]


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"A: b\n\ntext\n\r\n.\r\n", b"A: b\r\n\r\ntext\r\n\r\n"),
        (b"a\rb\r\n.\r\n", b"a\r\nb\r\n"),
        (b"a\r\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
        (b"a\n\rb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"a\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        # Behind what is no line end to its author a dot is not doubled, and none is to be taken away
        (b"a\n.5 mg\r\n.\r\n", b"a\r\n.5 mg\r\n"),
        (b"a\r.5 mg\n.b\r\n.\r\n", b"a\r\n.5 mg\r\n.b\r\n"),
        # What only looks like the end: each is a line of one dot
        (b"a\n.\nMAIL FROM:<x>\r\n.\r\n", b"a\r\n.\r\nMAIL FROM:<x>\r\n"),
        (b"a\n.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\rb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b".\nb\r\n.\r\n", b".\r\nb\r\n"),
    ],
)
@pytest.mark.parametrize("cut", [lambda data: [data], octets])
def test_every_line_end_becomes_crlf_and_only_the_true_end_ends(wire: bytes, message: bytes, cut: object) -> None:
    assert callable(cut)
    assert by_data(cut(wire + b"QUIT\nx\r\n")) == (message, b"QUIT\nx\r\n", None)


@pytest.mark.parametrize(
    ("wire", "message"),
    [(b"a\n.\nb\rc", b"a\r\n.\r\nb\r\nc\r\n"), (b"a\r", b"a\r\n"), (b"a\r\n", b"a\r\n"), (b"", b"")],
)
@pytest.mark.parametrize("cut", [lambda data: [data], octets])
def test_chunks_need_no_end_and_no_dots(wire: bytes, message: bytes, cut: object) -> None:
    assert callable(cut)
    assert by_chunks(cut(wire)) == (message, None)


@given(ODD, st.data())
def test_the_pieces_do_not_matter_and_nothing_bare_is_left(odd: bytes, data: st.DataObject) -> None:
    wire = odd + b"\r\n.\r\nQUIT\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1))))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    message, rest, fault = by_data(pieces)
    assert (message, rest, fault) == by_data([wire])
    assert not BARE.search(message)
    # The end is the first that the RFC knows, wherever else a line of one dot stands
    true_end = 0 if wire.startswith(b".\r\n") else wire.index(b"\r\n.\r\n") + 2
    assert rest == wire[true_end + 3 :]
    assert by_chunks(pieces) == by_chunks([wire])
    assert not BARE.search(by_chunks(pieces)[0])


@given(st.lists(st.sampled_from([b"a", b".", b"..", b".a", b"", b"A: b"]), max_size=20))
def test_a_message_as_it_should_be_is_left_as_it_is(lines: list[bytes]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    wire = re.sub(rb"^\.", b"..", message, flags=re.MULTILINE) + b".\r\n"
    assert by_data(octets(wire)) == (message, b"", None)
    assert by_chunks(octets(message)) == (message, None)


def test_a_line_without_end_costs_no_more_than_one_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held of it is looked at again with each piece, so it must be little."""
    seen: list[int] = []

    class Watched:
        def finditer(self, data: bytes) -> Iterator[re.Match[bytes]]:
            seen.append(len(data))
            return END.finditer(data)

    monkeypatch.setattr("gateway.smtp.lineends._END", Watched())
    mended = MendedData()
    for _ in range(1000):
        mended.feed(b"a" * 100)
    assert max(seen) <= 1200


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_faults_are_still_faults(end: bytes) -> None:
    over = b"Received: x" + end
    assert by_data([over * 51 + b"\r\n.\r\n"])[2] is Fault.LOOP
    assert by_data(octets(b"a" * 999 + end + b"\r\n.\r\n"))[1:] == (b"", Fault.LONG_LINE)
    assert by_data(octets(b"a" * 3000 + end + b".\r\n.\r\n"))[2] is Fault.LONG_LINE
    assert by_data([(b"a" * 99 + end) * 1001 + b"\r\n.\r\n"])[2] is Fault.TOO_LARGE
    assert by_data([b"a\0b" + end + b"\r\n.\r\n"])[2] is Fault.NUL
