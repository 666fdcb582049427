"""Bodies at rest: what was written is read, and any change to it is noticed."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.identifier import make_mail_id
from gateway.outcome import GatewayError, Reason
from gateway.spool.bodies import SpoolBodies, SpoolBody
from gateway.spool.epoch import EpochKeys
from gateway.spool.files import HEADER, SEGMENT, TAG, BodyDamagedError, BodyFiles, owner_of
from tests.spool.kit import START, Clock, sealing

OWNER = make_mail_id(START, bytes(10))
KEYS = EpochKeys(sealing(), None, lambda: START)


def make_files(directory: Path, free: Callable[[], int] = lambda: 1 << 40) -> BodyFiles:
    return BodyFiles(directory, OWNER, KEYS, lambda: START, free)


def store(files: BodyFiles, data: bytes) -> SpoolBody:
    """A body as it is read back from its row."""
    writer = SpoolBodies(files, 0).create()
    writer.write(data)
    body = writer.close()
    writer.claim()
    writer.persist()
    return SpoolBody(files, body.name, body.size, body.epoch, writer.sealed)


SIZES = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 1, 5 * SEGMENT - 7]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read_again_and_again(tmp_path: Path, size: int) -> None:
    """Around each segment border; in chunks of at most 64 KiB; before and after it is stored."""
    data = os.urandom(size)
    files = make_files(tmp_path)
    writer = SpoolBodies(files, 0).create()
    for start in range(0, size, 10_000):
        writer.write(data[start : start + 10_000])
    body = writer.close()
    assert b"".join(body.chunks()) == data
    writer.claim()
    writer.persist()
    stored = SpoolBody(files, body.name, body.size, body.epoch, writer.sealed)
    for again in (body, stored, stored):
        chunks = list(again.chunks())
        assert b"".join(chunks) == data
        assert all(0 < len(chunk) <= SEGMENT for chunk in chunks)
    assert body.size == stored.size == size


@given(st.lists(st.binary(max_size=3 * SEGMENT), max_size=4))
@settings(max_examples=20)
def test_pieces_do_not_matter(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    """However a body is cut into writes."""
    files = make_files(tmp_path_factory.mktemp("bodies"))
    writer = SpoolBodies(files, 0).create()
    for piece in pieces:
        writer.write(piece)
    assert b"".join(writer.close().chunks()) == b"".join(pieces)
    writer.discard()


def test_nothing_of_a_body_is_on_the_disk_in_clear(tmp_path: Path) -> None:
    """Neither in the file of a large one nor in the sealed form of a small one; and only the owner may read the file."""
    files = make_files(tmp_path)
    large = store(files, b"Diagnosis " * SEGMENT)
    small = store(files, b"Diagnosis " * 10)
    path = files.path(large.name)
    assert b"Diagnosis" not in path.read_bytes()
    assert small.sealed is not None
    assert b"Diagnosis" not in small.sealed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


FILE = 3 * (SEGMENT + TAG) + HEADER.size


def _swap(data: bytes) -> bytes:
    first, second, third = HEADER.size, HEADER.size + SEGMENT + TAG, HEADER.size + 2 * (SEGMENT + TAG)
    return data[:first] + data[second:third] + data[first:second] + data[third:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "only a header": lambda data: data[: HEADER.size],
    "a short header": lambda data: data[: HEADER.size - 1],
    "the last byte is missing": lambda data: data[:-1],
    "the last segment is missing": lambda data: data[: -(SEGMENT + TAG)],
    "a segment is missing": lambda data: data[: HEADER.size] + data[HEADER.size + SEGMENT + TAG :],
    "a segment twice": lambda data: data[: HEADER.size + SEGMENT + TAG] + data[HEADER.size : -(SEGMENT + TAG)],
    "two segments in the other order": _swap,
    "a byte more": lambda data: data + b"x",
    "another magic": lambda data: b"X" + data[1:],
    "another version": lambda data: data[:9] + b"\x02" + data[10:],
    "another salt": lambda data: data[: HEADER.size - 1] + bytes([data[HEADER.size - 1] ^ 1]) + data[HEADER.size :],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_to_a_file_is_noticed(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Cut, reordered, lengthened, or with a header changed."""
    files = make_files(tmp_path)
    body = store(files, os.urandom(3 * SEGMENT))
    path = files.path(body.name)
    data = path.read_bytes()
    assert len(data) == FILE
    path.write_bytes(damage(data))
    with pytest.raises(BodyDamagedError) as caught:
        list(body.chunks())
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE


@given(position=st.integers(0, HEADER.size + 100 + TAG - 1), bit=st.integers(0, 7))
def test_any_bit_that_flips_is_noticed(tmp_path_factory: pytest.TempPathFactory, position: int, bit: int) -> None:
    """In a small body: header, content or tag."""
    files = make_files(tmp_path_factory.getbasetemp())
    body = store(files, bytes(100))
    assert body.sealed is not None
    flipped = bytearray(body.sealed)
    flipped[position] ^= 1 << bit
    with pytest.raises(BodyDamagedError):
        list(SpoolBody(files, body.name, body.size, body.epoch, bytes(flipped)).chunks())


def test_one_body_is_not_taken_for_another(tmp_path: Path) -> None:
    """A file under another body's name does not open, nor does a row with another size."""
    files = make_files(tmp_path)
    first, second = store(files, bytes(2 * SEGMENT)), store(files, bytes(2 * SEGMENT))
    files.path(first.name).replace(files.path(second.name))
    with pytest.raises(BodyDamagedError):
        list(second.chunks())
    with pytest.raises(BodyDamagedError, match="is missing"):
        list(first.chunks())
    small = store(files, bytes(100))
    for size in (99, 101, SEGMENT + 1):
        with pytest.raises(BodyDamagedError):
            list(SpoolBody(files, small.name, size, small.epoch, small.sealed).chunks())


def test_what_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    """While it is written, after it is closed; a small body never touches the disk."""
    files = make_files(tmp_path)
    for size, close in [(0, False), (10, True), (3 * SEGMENT, False), (3 * SEGMENT, True)]:
        writer = SpoolBodies(files, 0).create()
        writer.write(bytes(size))
        if close:
            writer.close()
        assert any(path.is_file() for path in tmp_path.rglob("*")) == (size > SEGMENT)
        writer.discard()
        writer.discard()
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_closed_body_takes_no_more(tmp_path: Path) -> None:
    """Closing twice is one closing; writing after it is a mistake."""
    writer = SpoolBodies(make_files(tmp_path), 0).create()
    assert writer.close() is writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")


def test_below_the_floor_nothing_is_begun_or_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPOOL_FULL while there is still space for what was accepted."""
    monkeypatch.setattr("gateway.spool.bodies.LOOK", 0)
    free = 1000
    files = make_files(tmp_path, lambda: free)
    bodies = SpoolBodies(files, 500)
    writer = bodies.create()
    writer.write(b"x" * SEGMENT)
    free = 499
    for refused in (bodies.create, lambda: writer.write(b"x")):
        with pytest.raises(GatewayError) as caught:
            refused()
        assert caught.value.reason is Reason.SPOOL_FULL
    writer.discard()
    assert not list(tmp_path.rglob("*"))


def test_what_is_yet_to_come_counts(tmp_path: Path) -> None:
    """A look at the disk holds for a while, for small and for large."""
    looks = 0

    def free() -> int:
        nonlocal looks
        looks += 1
        return 1000

    bodies = SpoolBodies(make_files(tmp_path, free), 500)
    bodies.check_space(500)
    with pytest.raises(GatewayError, match="SPOOL_FULL"):
        bodies.check_space(501)
    bodies.check_space()
    assert looks == 1


def test_a_clock_that_is_set_back_does_not_stop_the_looks_at_the_disk(tmp_path: Path) -> None:
    """For as long as it was wrong nobody would notice that the disk fills."""
    clock, free = Clock(), 1000
    bodies = SpoolBodies(BodyFiles(tmp_path, OWNER, KEYS, lambda: clock.now, lambda: free), 500)
    bodies.check_space()
    clock.advance(-3600)
    free = 0
    with pytest.raises(GatewayError, match="SPOOL_FULL"):
        bodies.check_space()


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, Reason.SPOOL_FULL), (errno.EIO, Reason.SPOOL_UNAVAILABLE)])
def test_a_failing_disk_has_its_reason(tmp_path: Path, number: int, reason: Reason) -> None:
    """Asking for the free space fails like any other use of the disk."""

    def fail() -> int:
        raise OSError(number, os.strerror(number))

    with pytest.raises(GatewayError) as caught:
        SpoolBodies(make_files(tmp_path, fail), 1).create()
    assert caught.value.reason is reason


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_ends_a_body_and_leaves_no_file(tmp_path: Path) -> None:
    """Writing to a file without space is SPOOL_FULL; what was begun is removed."""

    class FullFiles(BodyFiles):
        def create_file(self, name: str) -> int:
            os.close(super().create_file(name))
            return os.open("/dev/full", os.O_WRONLY)

    files = FullFiles(tmp_path, OWNER, KEYS, lambda: START, lambda: 1 << 40)
    writer = SpoolBodies(files, 0).create()
    with pytest.raises(GatewayError) as caught:
        writer.write(bytes(2 * SEGMENT))
    assert caught.value.reason is Reason.SPOOL_FULL
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["", "x", "../x", f"{OWNER}-", f"{OWNER}-../../../etc", f"{OWNER}-{OWNER}x"])
def test_only_names_of_bodies_become_paths(tmp_path: Path, name: str) -> None:
    """Whatever a damaged row says."""
    assert owner_of(name) is None
    with pytest.raises(ValueError, match="name"):
        make_files(tmp_path).path(name)
