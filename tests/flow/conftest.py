"""The people in messages by openssl: an authority, one who signs, one who reads."""

from __future__ import annotations

import pytest

from tests.flow.opened import READER, SENDER
from tests.pki import Ca, Issued


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def signer(ca: Ca) -> Issued:
    return ca.signer(SENDER, "rsa2048")


@pytest.fixture(scope="module")
def reader(ca: Ca) -> Issued:
    return ca.reader(READER)
