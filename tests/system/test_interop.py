"""The peers whose packages the suite has anyway, in every case of the matrix; ``make interop`` has the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from interop.case import CASES, By, Case
from interop.cmstool import MailOf
from interop.expected import REFUSALS, refusal, surprise
from interop.nss import Nss
from interop.openssl import OpenSsl
from interop.ours import Ours, sides
from interop.outcome import Direction, End, Outcome, tried
from interop.page import page
from interop.peer import Peer
from interop.people import People

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
PEERS = ("OpenSSL", "NSS cmsutil")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People.make(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def ours(people: People, tmp_path_factory: pytest.TempPathFactory) -> Mapping[By, Ours]:
    return sides(tmp_path_factory.mktemp("ours"), people)


@pytest.fixture(scope="module")
def peers(people: People, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Peer]:
    folder = tmp_path_factory.mktemp("peers")
    return {peer.name: peer for peer in (OpenSsl(people), MailOf(Nss(folder, people)))}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", Direction, ids=lambda direction: direction.name.lower())
@pytest.mark.parametrize("name", PEERS)
def test_each_opens_what_the_other_writes(
    people: People, ours: Mapping[By, Ours], peers: Mapping[str, Peer], name: str, direction: Direction, case: Case
) -> None:
    """Or the one refuses it for the reason that is known."""
    assert surprise(direction, name, case, tried(direction, peers[name], ours, people, case)) == ""


def test_the_page_has_every_case() -> None:
    """Who changes the matrix runs ``make interop``."""
    rows = {line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines()}
    assert {case.name for case in CASES} <= rows


def test_every_refusal_is_of_some_case() -> None:
    """One that is of none would never be missed."""
    found = {refusal(direction, known.peer, case) for direction in Direction for known in REFUSALS for case in CASES}
    assert found - {None} == set(REFUSALS)


REFUSED = next(case for case in CASES if refusal(Direction.OURS, "gpgsm", case))


@pytest.mark.parametrize(
    ("peer", "outcome", "surprising"),
    [
        ("OpenSSL", Outcome(End.OK), False),
        ("OpenSSL", Outcome(End.ABSENT, "no option for it"), False),
        ("OpenSSL", Outcome(End.REFUSED, "bad decrypt"), True),
        ("OpenSSL", Outcome(End.WRONG, "unsigned"), True),
        ("gpgsm", Outcome(End.REFUSED, "DSA requires the hash length to be a multiple of 8 bits"), False),
        ("gpgsm", Outcome(End.REFUSED, "Bad signature"), True),
        ("gpgsm", Outcome(End.OK), True),
    ],
)
def test_what_is_not_as_known_is_told(peer: str, outcome: Outcome, surprising: bool) -> None:
    """A refusal for another reason, and a case that works of a sudden, too."""
    assert bool(surprise(Direction.OURS, peer, REFUSED, outcome)) is surprising


def test_a_bug_of_ours_is_called_one() -> None:
    """On the page it is no refusal."""
    outcomes = {(direction, "OpenSSL", case): Outcome(End.OK) for direction in Direction for case in CASES}
    outcomes[Direction.THEIRS, "OpenSSL", CASES[0]] = Outcome(End.WRONG, "unsigned")
    text = page({"OpenSSL": "3.0.0"}, outcomes)
    assert f"| {CASES[0].name} | 1 |" in text
    assert "1. OpenSSL, a bug of ours, to be mended: `unsigned`." in text
