"""What is kept stays within its bounds: what a person put in before what was harvested, what is used before what waits."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from gateway.database.thread import Database, Effect
from gateway.events import CertificateHarvested
from gateway.mail.address import Address, parse_address
from gateway.mail.identifier import make_mail_id
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.state import byhand, capabilities
from gateway.state import certificates as state
from gateway.state.byhand import MAX_BY_HAND, MAX_EACH, approve, entries, forget, put_in
from gateway.state.certificates import (
    CACHED_SECONDS,
    FORGOTTEN_DAYS,
    MAX_CACHED,
    MAX_CACHED_BYTES,
    MAX_HARVESTED,
    MAX_LEARNED,
    MAX_ROW,
    CertificateCounts,
    KeptCertificates,
    fingerprint,
    split,
)
from gateway.state.state import open_state
from gateway.trust.harvested import Harvesting, Taught
from gateway.trust.kept import KeptAs
from gateway.trust.sources import DirectoryError
from tests.doubles import Events
from tests.pki import Ca

DAY = 86_400 * 10**6
AT = 20_000 * DAY
ROOT = Ca.root()
RESULTS = parse_address("results@laboratory.example")
CERTIFICATES = [ROOT.reader("results@laboratory.example", "p256").der for _ in range(MAX_EACH + 4)]
MAIL = make_mail_id(AT, bytes(10))


class World:
    """A database and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now = AT
        self.database: Database = open_state(folder, lambda: self.now)
        self.events = Events()

    def process(self) -> KeptCertificates:
        return KeptCertificates(self.database, self.events, lambda: self.now)

    def teach(
        self,
        certificate: bytes,
        signed_at: int,
        address: Address = RESULTS,
        harvesting: Harvesting = Harvesting.KEEP,
        above: Sequence[bytes] = (),
        zone: str | None = None,
    ) -> None:
        self.process().teach("hospital", MAIL, Taught(address, certificate, tuple(above), zone, signed_at), harvesting)

    def put(self, certificate: bytes, kept_as: KeptAs, address: Address = RESULTS) -> bool:
        def change(database: apsw.Connection) -> bool:
            return put_in(database, "hospital", address, certificate, (), kept_as, self.now)

        return self.database.call(change, Effect.DURABLE)

    async def kept(self, address: Address = RESULTS) -> dict[bytes, KeptAs]:
        return {each.certificate: each.kept_as for each in await self.process().kept("hospital", address)}

    def counted(self) -> dict[str, int]:
        """What the database believes that it has, and what it has."""

        def look(database: apsw.Connection) -> tuple[dict[str, int], dict[str, int]]:
            believed = dict(database.execute("SELECT kind, rows FROM counted WHERE kind != 'capabilities'"))
            there = dict.fromkeys(believed, 0) | dict(
                database.execute("SELECT kept_as, count(*) FROM certificates GROUP BY kept_as")
            )
            return believed, there

        believed, there = self.database.call(look, Effect.READ)
        assert believed == there
        return there


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.close()


def somebody(number: int) -> Address:
    return parse_address(f"n{number}@laboratory.example")


async def test_pinned_comes_before_imported_before_harvested_and_the_newest_first(world: World) -> None:
    harvested, waiting, imported, older, newer = CERTIFICATES[:5]
    world.teach(harvested, AT)
    world.teach(waiting, AT + 1, harvesting=Harvesting.APPROVE)
    for certificate, kept_as in ((imported, KeptAs.IMPORTED), (older, KeptAs.PINNED), (newer, KeptAs.PINNED)):
        world.now += 1
        world.put(certificate, kept_as)
    assert list(await world.kept()) == [newer, older, imported, harvested, waiting]
    [pin, *_] = await world.process().kept("hospital", RESULTS)
    assert pin.since == AT + 3
    told = {KeptAs.PINNED: 2, KeptAs.IMPORTED: 1, KeptAs.HARVESTED: 1, KeptAs.WAITING: 1}
    assert await CertificateCounts(world.database).count() == told == world.counted()


async def test_of_one_address_the_newest_harvested_stay_and_push_out_nothing_else(world: World) -> None:
    pinned, *harvested = CERTIFICATES[: MAX_HARVESTED + 3]
    world.put(pinned, KeptAs.PINNED)
    for number, certificate in enumerate(harvested):
        world.teach(certificate, AT + number)
    expected = dict.fromkeys(harvested[: -MAX_HARVESTED - 1 : -1], KeptAs.HARVESTED)
    assert await world.kept() == {pinned: KeptAs.PINNED} | expected
    assert world.counted()["harvested"] == MAX_HARVESTED


async def test_as_many_as_may_wait_push_out_none_that_is_used(world: World) -> None:
    used, *others = CERTIFICATES[: MAX_HARVESTED + 3]
    for number, certificate in enumerate((used, *others)):
        world.teach(certificate, AT + number, harvesting=Harvesting.APPROVE)
    assert await world.kept() == {used: KeptAs.HARVESTED} | dict.fromkeys(others[: -MAX_HARVESTED - 1 : -1], KeptAs.WAITING)


async def test_beyond_the_bound_of_all_what_was_seen_last_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_LEARNED >= 10_000
    monkeypatch.setattr(state, "MAX_LEARNED", 3)
    world.put(CERTIFICATES[0], KeptAs.IMPORTED, somebody(99))
    for number in range(5):
        world.now += 1
        world.teach(CERTIFICATES[0], AT, somebody(number))
        world.teach(CERTIFICATES[0], AT + number + 1, somebody(0))  # writes all the time
    assert [bool(await world.kept(somebody(number))) for number in (0, 1, 2, 3, 4, 99)] == [True, False, False, True, True, True]
    assert world.counted() == {"harvested": 3, "waiting": 0, "imported": 1, "pinned": 0}


async def test_members_of_a_zone_do_not_make_room_for_strangers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One certificate may name a thousand addresses, and each may write: nobody outside pushes a zone's people out by it."""
    monkeypatch.setattr(state, "MAX_LEARNED", 3)
    world.teach(CERTIFICATES[0], AT, somebody(0), zone="health")
    for number in range(1, 6):
        world.now += 1
        world.teach(CERTIFICATES[0], AT, somebody(number))
    assert [bool(await world.kept(somebody(number))) for number in range(6)] == [True, False, False, False, True, True]


async def test_room_is_found_without_looking_at_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_LEARNED", 5000)
    insert = "INSERT INTO certificates VALUES ('hospital', ?, x'00', 'harvested', '', 1, ?, x'00', x'')"
    rows = [(f"{number}@x.example", AT + number) for number in range(5000)]
    world.database.call(lambda database: database.executemany(insert, rows), Effect.CHANGE)
    steps = counting(world.database)
    world.teach(CERTIFICATES[0], AT)
    assert steps() < 50
    assert world.counted()["harvested"] == 5000


def counting(database: Database) -> Callable[[], int]:
    """Counts hundreds of instructions of SQLite from now on, until it is asked how many."""
    steps = itertools.count()
    database.call(lambda connection: connection.set_progress_handler(lambda: next(steps) < 0, 100), Effect.READ)

    def stop() -> int:
        database.call(lambda connection: connection.set_progress_handler(None), Effect.READ)
        return next(steps)

    return stop


async def test_who_was_silent_for_a_year_is_forgotten_and_what_a_person_put_in_is_not(world: World) -> None:
    world.teach(CERTIFICATES[0], AT)
    world.put(CERTIFICATES[1], KeptAs.PINNED)
    world.now += FORGOTTEN_DAYS * DAY
    assert await world.kept() == {CERTIFICATES[1]: KeptAs.PINNED}
    world.teach(CERTIFICATES[2], world.now, somebody(1))
    await world.kept()
    assert world.counted() == {"harvested": 1, "waiting": 0, "imported": 0, "pinned": 1}


async def test_what_would_fill_the_database_is_not_harvested(world: World) -> None:
    room = MAX_ROW - len(CERTIFICATES[0]) - 4
    world.teach(CERTIFICATES[0], AT, above=[der.octet_string(bytes(room))])
    world.teach(CERTIFICATES[0], AT, somebody(1), above=[der.octet_string(bytes(room + 1))])
    assert (len(await world.kept()), await world.kept(somebody(1))) == (1, {})


def test_of_one_address_no_more_are_put_in_than_stay_in_view(world: World) -> None:
    for certificate in CERTIFICATES[:MAX_EACH]:
        assert world.put(certificate, KeptAs.IMPORTED)
    assert world.put(CERTIFICATES[0], KeptAs.PINNED)  # one of them
    with pytest.raises(GatewayError, match="forget one first") as caught:
        world.put(CERTIFICATES[MAX_EACH], KeptAs.PINNED)
    assert caught.value.reason is Reason.TOO_MANY
    assert world.counted() == {"harvested": 0, "waiting": 0, "imported": MAX_EACH - 1, "pinned": 1}


def test_no_more_are_put_in_at_all_than_the_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BY_HAND >= 10_000
    monkeypatch.setattr(byhand, "MAX_BY_HAND", 2)
    world.put(CERTIFICATES[0], KeptAs.PINNED, somebody(0))
    world.put(CERTIFICATES[0], KeptAs.IMPORTED, somebody(1))
    with pytest.raises(GatewayError, match="forget some first"):
        world.put(CERTIFICATES[0], KeptAs.IMPORTED, somebody(2))


async def test_what_a_person_says_of_a_harvested_one_holds_and_mail_does_not_undo_it(world: World) -> None:
    certificate = CERTIFICATES[0]
    world.teach(certificate, AT)
    assert world.put(certificate, KeptAs.IMPORTED)
    assert world.put(certificate, KeptAs.PINNED)
    assert not world.put(certificate, KeptAs.IMPORTED)
    world.teach(certificate, AT + 5)
    assert await world.kept() == {certificate: KeptAs.PINNED}
    assert world.counted() == {"harvested": 0, "waiting": 0, "imported": 0, "pinned": 1}


async def test_what_was_approved_or_forgotten_meanwhile_is_not_so_twice(world: World) -> None:
    for number in range(2):
        world.teach(CERTIFICATES[number], AT + number, harvesting=Harvesting.APPROVE)
    [entry] = world.database.call(lambda database: entries(database, kept_as=KeptAs.WAITING), Effect.READ)
    approved = [world.database.call(lambda database: approve(database, entry, AT), Effect.DURABLE) for _ in range(2)]
    assert approved == [[], None]
    done = [world.database.call(lambda database: forget(database, entry, AT), Effect.DURABLE) for _ in range(2)]
    assert done == [True, False]
    assert await world.kept() == {CERTIFICATES[0]: KeptAs.HARVESTED}


# What a process remembers


async def test_another_process_knows_within_its_time(world: World) -> None:
    process = world.process()
    assert await process.kept("hospital", RESULTS) == ()
    world.put(CERTIFICATES[0], KeptAs.PINNED)
    assert await process.kept("hospital", RESULTS) == ()
    world.now += CACHED_SECONDS * 10**6
    assert [each.certificate for each in await process.kept("hospital", RESULTS)] == [CERTIFICATES[0]]


async def test_whoever_learned_it_knows_at_once(world: World) -> None:
    process = world.process()
    assert await process.kept("hospital", RESULTS) == ()
    process.teach("hospital", MAIL, Taught(RESULTS, CERTIFICATES[0], (), None, AT), Harvesting.KEEP)
    await process.kept("hospital", somebody(1))  # behind it
    assert [each.certificate for each in await process.kept("hospital", RESULTS)] == [CERTIFICATES[0]]


async def test_addresses_in_memory_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CACHED >= 10_000
    monkeypatch.setattr(state, "MAX_CACHED", 10)
    process = world.process()
    for number in range(30):
        await process.kept("hospital", somebody(number))
    assert len(process._cached) == 10


async def test_certificates_in_memory_are_bounded_by_their_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CACHED_BYTES >= MAX_ROW * MAX_HARVESTED
    size = len(CERTIFICATES[0])
    monkeypatch.setattr(state, "MAX_CACHED_BYTES", 5 * size)
    process = world.process()
    for number in range(9):
        world.put(CERTIFICATES[0], KeptAs.PINNED, somebody(number))
        await process.kept("hospital", somebody(number))
    assert (len(process._cached), process._bytes) == (5, 5 * size)


# Faults


async def test_pins_that_cannot_be_read_are_not_passed_over(world: World) -> None:
    process = world.process()
    world.put(CERTIFICATES[0], KeptAs.PINNED)
    await process.kept("hospital", RESULTS)
    world.now += CACHED_SECONDS * 10**6
    world.database.call(lambda database: database.execute("DROP TABLE certificates"), Effect.CHANGE)
    with pytest.raises(DirectoryError, match="kept by ourselves") as caught:
        await process.kept("hospital", RESULTS)
    assert caught.value.reason is Reason.DIRECTORY_UNAVAILABLE


async def test_what_cannot_be_kept_is_no_fault_of_the_mail(world: World) -> None:
    world.database.call(lambda database: database.execute("DROP TABLE certificates"), Effect.CHANGE)
    world.teach(CERTIFICATES[0], AT)
    await world.database.run(lambda _: None, Effect.READ)
    assert world.events.seen == []


async def test_the_event_names_what_was_kept_and_for_whom(world: World) -> None:
    world.teach(CERTIFICATES[0], AT)
    await world.kept()
    print_ = fingerprint(CERTIFICATES[0]).hex()
    event = CertificateHarvested(org="hospital", mail=MAIL, address=str(RESULTS), fingerprint=print_)
    assert world.events.seen == [event]


def test_certificates_one_behind_the_other_are_told_apart() -> None:
    assert split(b"".join(CERTIFICATES)) == tuple(CERTIFICATES)
    assert split(b"") == ()


# What was there before


def test_a_database_of_the_version_before_is_counted_once(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as before, before:
        before.executescript(
            "CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;"
            "INSERT INTO schema_version VALUES (1, 0);"
        )
        before.executescript((Path(state.__file__).parent / "schema" / "0001.sql").read_text())
        before.executemany("INSERT INTO capabilities VALUES ('o', ?, 1, 1, x'00')", [(str(number),) for number in range(7)])
    database = open_state(tmp_path, lambda: AT)
    query = "SELECT rows FROM counted WHERE kind = 'capabilities'"
    assert database.call(lambda connection: connection.execute(query).get, Effect.READ) == 7
    database.close()


async def test_people_remembered_are_not_counted_for_each_new_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hundred thousand, counting them took longer than all the rest of a mail."""

    def fill(database: apsw.Connection) -> None:
        rows = ((f"{number}@x.example", AT + number) for number in range(20_000))
        database.executemany("INSERT INTO capabilities VALUES ('hospital', ?, 1, ?, x'3000')", rows)

    world.database.call(fill, Effect.CHANGE)
    heard = capabilities.HeardCapabilities(world.database, lambda: AT)

    steps = counting(world.database)
    heard.learn("hospital", RESULTS, b"\x30\x00", AT)
    assert steps() < 20
