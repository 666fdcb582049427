"""The gatehouse of a test, under asyncio's loop and under uvloop, which production uses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.receive.gatehouse import House, Pki, house


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def gatehouse(tmp_path: Path, pki: Pki) -> AsyncIterator[House]:
    async with house(tmp_path, pki) as built:
        yield built
