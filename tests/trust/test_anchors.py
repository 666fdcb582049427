from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.trust.anchors import Anchors, Chain
from gateway.trust.certificate import facts
from gateway.trust.judgement import Purpose
from tests.pki import Ca


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads give way to each other all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_share_a_list(restless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.trust.anchors._REMEMBERED", 2)  # so that what is remembered is pushed out all the time
    root = Ca.root()
    issued = [root.signer(f"{number}@laboratory.example").der for number in range(6)]
    chains = [Chain((root.der, each), (facts(root.der), facts(each))) for each in issued]
    anchors = Anchors([root.der])

    def remember(start: int) -> None:
        for number in range(start, start + 20_000):
            anchors.remember(chains[number % len(chains)], Purpose.SMIME_SIGNER)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remember, range(8)))
