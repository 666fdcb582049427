"""One event is one audit line, one counter and at most one log line; the audit shows every change made to it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from gateway.edge.observe import Audit, Observe, broken_link
from gateway.events import FetchFailed, MailAccepted, PeerRejected
from gateway.mail.identifier import MailId
from gateway.outcome import GatewayError, Reason

AT = 1_700_000_000_123_456  # 2023-11-14T22:13:20.123456Z
MAIL = MailId("01HF7YAT3V0000000000000000")


def accepted(sender: str) -> MailAccepted:
    return MailAccepted(
        org="hospital",
        mail=MAIL,
        listener="inside",
        address="127.0.0.1",
        direction="outbound",
        sender=sender,
        recipients=("results@laboratory.example",),
        size=5,
    )


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """A segment of three lines."""
    audit = Audit(tmp_path, "worker-0", lambda: AT)
    observer = Observe(audit)
    for sender in ("a@hospital.example", "b@hospital.example", "c@hospital.example"):
        observer.see(accepted(sender))
    observer.close()
    return audit.path


def test_a_record_says_what_happened_when_and_to_what(segment: Path) -> None:
    record = json.loads(segment.read_text().splitlines()[0])
    assert record.pop("prev") == "0" * 64
    assert record == {
        "v": 1,
        "seq": 1,
        "at": "2023-11-14T22:13:20.123456Z",
        "event": "mail_accepted",
        "org": "hospital",
        "mail": MAIL,
        "listener": "inside",
        "address": "127.0.0.1",
        "direction": "outbound",
        "sender": "a@hospital.example",
        "recipients": ["results@laboratory.example"],
        "size": 5,
    }


def test_the_segment_is_for_its_owner_alone(segment: Path) -> None:
    assert segment.stat().st_mode & 0o777 == 0o600


def test_an_untouched_segment_has_no_broken_link(segment: Path) -> None:
    assert broken_link(segment.read_bytes().splitlines()) is None


@pytest.mark.parametrize(
    ("order", "broken"),
    [((0, 2), 2), ((1, 2), 1), ((0, 2, 1), 2), ((0, 0, 1, 2), 2), ((1, 0, 2), 1)],
    ids=["one taken out", "the first taken out", "two changed places", "one twice", "the first two changed places"],
)
def test_lines_taken_out_moved_or_repeated_are_found(segment: Path, order: tuple[int, ...], broken: int) -> None:
    lines = segment.read_bytes().splitlines()
    assert broken_link([lines[number] for number in order]) == broken


def test_a_changed_line_is_found_at_the_next(segment: Path) -> None:
    lines = segment.read_bytes().replace(b"a@hospital", b"x@hospital").splitlines()
    assert broken_link(lines) == 2


def test_each_event_counts_once_and_names_no_people(segment: Path, tmp_path: Path) -> None:
    observer = Observe(Audit(tmp_path / "other", "worker-1", lambda: AT))
    for _ in range(2):
        observer.see(accepted("cardiology@hospital.example"))
    observer.close()
    labels = (("org", "hospital"), ("listener", "inside"), ("direction", "outbound"))
    assert dict(observer.counters) == {("mail_accepted", labels): 2}


def test_the_log_has_the_reason_and_neither_address_nor_detail(tmp_path: Path) -> None:
    observer = Observe(Audit(tmp_path, "worker-0", lambda: AT))
    with structlog.testing.capture_logs() as logs:
        observer.see(PeerRejected(listener="zone", address="192.0.2.7", reason=Reason.CHAIN, detail="CN=somebody"))
        observer.see(FetchFailed(kind="crl", source="http://crl.example/ca.crl", detail="<html>secret</html>"))
    observer.close()
    assert "CHAIN" in str(logs)
    assert not any(text in str(logs) for text in ("192.0.2.7", "somebody", "secret"))


# A disk that takes nothing


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """As on a full disk: a write takes what still fits, and the next one nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_now_is_written_later_in_its_order(tmp_path: Path) -> None:
    """Nobody who reports what has happened is disturbed; who would begin something new hears of it."""
    audit = Audit(tmp_path, "worker-0", lambda: AT)
    observer = Observe(audit)
    observer.see(accepted("a@hospital.example"))
    with structlog.testing.capture_logs() as logs, no_file_over(audit.path.stat().st_size + 40):
        for sender in ("b@hospital.example", "c@hospital.example"):
            observer.see(accepted(sender))
        with pytest.raises(GatewayError) as caught:
            observer.check()
    assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
    assert [entry["event"] for entry in logs] == ["audit_failed"]
    observer.check()
    observer.see(accepted("d@hospital.example"))
    observer.close()
    lines = audit.path.read_bytes().splitlines()
    assert broken_link(lines) is None
    assert [json.loads(line)["sender"][0] for line in lines] == ["a", "b", "c", "d"]


def test_beyond_a_bound_lines_are_counted_and_no_longer_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how many they were stands in the chain."""
    monkeypatch.setattr("gateway.edge.observe.MAX_OWED", 100)
    audit = Audit(tmp_path, "worker-0", lambda: AT)
    observer = Observe(audit)
    with structlog.testing.capture_logs(), no_file_over(10):
        for sender in "abcd":
            observer.see(accepted(f"{sender}@hospital.example"))
    observer.see(accepted("e@hospital.example"))
    observer.close()
    lines = audit.path.read_bytes().splitlines()
    assert broken_link(lines) is None
    records = [json.loads(line) for line in lines]
    assert [(record["event"], record.get("lines")) for record in records] == [
        ("mail_accepted", None),
        ("audit_gap", 3),
        ("mail_accepted", None),
    ]


def test_a_log_that_takes_nothing_ends_nothing() -> None:
    """Standard error may be a file on a disk that is full; a supervisor that ends of it takes the gateway down."""
    program = "import structlog; from gateway.edge.observe import configure_logging as c; c('x'); structlog.get_logger().error('y')"
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", program + "; print('on')"], stderr=full, stdout=subprocess.PIPE, check=False)
    assert ended.stdout == b"on\n"
