"""One event is one audit line, one counter and at most one log line; the audit shows every change made to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from gateway.edge.observe import Audit, Observe, broken_link
from gateway.events import FetchFailed, MailAccepted, PeerRejected
from gateway.mail.identifier import MailId
from gateway.outcome import Reason

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
        observer.see(FetchFailed(source="http://crl.example/ca.crl", detail="<html>secret</html>"))
    observer.close()
    assert "CHAIN" in str(logs)
    assert not any(text in str(logs) for text in ("192.0.2.7", "somebody", "secret"))
