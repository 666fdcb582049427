"""The measurements in a short form: that they run, and that the memory holds. Their speed is for ``make bench``."""

from __future__ import annotations

import pytest

from bench.belief import Work, believing
from bench.contest import MEGABYTE, Contest, growing, protecting, relaying
from bench.crowd import crowding
from bench.deaddirectory import MAX_ASKED, dying, p99
from bench.engine import SMALL, engine
from bench.engineside import Task
from bench.enginetable import engine_goals, growths
from bench.gatewayside import PROTECT
from bench.load import TICK, Run
from bench.parts import NotAllowed, profile, shares
from bench.pipefilter import Filter
from bench.remembered import remembering
from bench.results import Figures, compared, page
from bench.results import shares as process_shares

pytestmark = [pytest.mark.xdist_group("bench"), pytest.mark.timeout(300)]


def test_every_measurement_yields_its_figures() -> None:
    """A few messages each way, one round; and a large mail that neither gateway's workers hold in memory."""
    protect = protecting(1, 20, 5)
    ours = protect[Filter.DOCUMENTED].ours
    filters = [run for each in protect.values() for run in each.theirs]
    relay = relaying(1, 20)
    growth = growing(10)
    for run in (*ours, *filters, *relay.ours, *relay.theirs):
        assert run.rate > 0
        assert run.cpu_ms > 0
    assert {"worker", "sign-agent"} <= ours[0].cpu.keys()
    assert 0 <= growth.outbound <= 16 * MEGABYTE
    assert 0 <= growth.inbound <= 16 * MEGABYTE
    crowd = crowding(4, 5)
    assert crowd.peak < 200 * MEGABYTE
    assert crowd.waits
    assert 0 < crowd.waits[0] <= crowd.p99
    smime = engine(1, {SMALL: 2}, 10 * MEGABYTE, {SMALL: 100})
    assert set(smime.turns) == {(what, SMALL) for what in Task}
    assert growths(smime).keys() == {Task.OPEN, Task.PROTECT}
    assert max(growths(smime).values()) <= 8 * MEGABYTE
    assert str(engine_goals(smime)[-1]).endswith("reached")
    belief = believing(1, chains=3, entries=100, turns=10)
    assert belief.rounds.keys() == set(Work)
    assert all(seconds > 0 for rounds in belief.rounds.values() for seconds in rounds)
    kept = remembering(1000, 500)
    assert 0 < kept.before < kept.after < kept.before + 20 * MEGABYTE
    dead = dying(2, 2.0)
    assert 0 < dead.asked <= MAX_ASKED
    assert p99(dead.beside) < 2 * p99(dead.alone) + 0.25  # seconds; a deadline of 5 would show
    parts = ({"SMTP in": 1.0}, {"SMTP in": 1.0})
    text = page(Figures(protect, relay, growth, crowd, parts, smime, belief, kept, dead), 10, "a test")
    for part in (
        "(a) Sign and encrypt",
        "(b) Relay",
        "(c) A mail of 10 MB",
        "sign-agent",
        "(d) 4 mails of 5 MB",
        "| SMTP in | 100%",
        "(f) The S/MIME engine",
        "(g) Believing a certificate",
        "(h) Finding certificates",
    ):
        assert part in text


def test_a_run_too_short_for_the_clock_has_used_a_tick() -> None:
    """The system counts CPU time in ticks for each process: 20 mails may round to nothing in every one of them."""
    short = Run(20, 0.1, {"smtpd": 0.0, "master": 0.0})
    assert short.cpu_ms == TICK / 20 * 1000
    relay = Contest((short,), (short,))
    assert any("| gateway / Postfix | 1.00 | 1.00 |" in line for line in compared({"Postfix": relay}))
    assert [line for line in process_shares([short]) if "smtpd" in line] == []


def test_the_profile_has_every_part() -> None:
    """py-spy sees into all our processes, where the system lets it."""
    try:
        parts = profile(PROTECT, 200)
    except NotAllowed as error:
        pytest.skip(f"no process may be traced here: {error}")
    assert sum(parts.values()) == pytest.approx(1.0)
    assert {"SMTP in", "SMTP out", "key agent and token"} <= parts.keys()


def test_a_sample_is_counted_for_the_innermost_file_of_ours() -> None:
    """Whatever called it, and whatever library it calls."""
    raw = [
        "process 1;run (uvloop/x.py:1);talk (gateway/receive/session.py:9);accept (gateway/spool/sqlite.py:3);now (other.py:1) 3",
        "process 1;run (uvloop/x.py:1) 1",
        "process 1;_worker (concurrent/futures/thread.py:81) 100",
    ]
    assert shares(raw) == {"spool: rows, bodies, encryption at rest": 0.75, "event loop, sockets, the rest": 0.25}
