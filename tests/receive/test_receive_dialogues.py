"""Every dialogue in tests/dialogues, whole and a byte at a time.

``listener:`` comes first, then perhaps ``limits:`` that differ from the house's. ``C:`` is a line of the client, ``+:`` raw
octets of it (with escapes), ``S:`` a pattern one line of the server must match. ``tls`` begins TLS, ``closed`` expects the end
of the connection, ``spool:`` how many mails were accepted in all.
"""

import asyncio
import re
from pathlib import Path

import pytest

from tests.receive.gatehouse import Client, House, Pki, house

DIALOGUES = sorted((Path(__file__).parent.parent / "dialogues").glob("*.smtp"))


class Replay:
    """Plays the client's part."""

    def __init__(self, house: House, client: Client, bytewise: bool) -> None:
        self._house = house
        self._client = client
        self._bytewise = bytewise

    async def step(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "C:":
                await self._send(rest.encode() + b"\r\n")
            case "+:":
                await self._send(rest.encode().decode("unicode_escape").encode())
            case "S:":
                heard = (await self._client.reader.readline()).decode().removesuffix("\r\n")
                assert re.fullmatch(rest, heard), f"{heard!r} is not {rest!r}"
            case "tls":
                await self._client.writer.start_tls(self._house.client_tls(), server_hostname="gateway.hospital.example")
            case "closed":
                assert await self._client.reader.read() == b""
            case "spool:":
                assert len(self._house.spool.accepted) == int(rest) == len(self._house.spool.bodies.kept)
            case _:
                raise AssertionError(f"what is {line!r}?")

    async def _send(self, data: bytes) -> None:
        for piece in [data[index : index + 1] for index in range(len(data))] if self._bytewise else [data]:
            await self._client.send(piece)
            await asyncio.sleep(0)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("dialogue", DIALOGUES, ids=[path.stem for path in DIALOGUES])
async def test_dialogue(tmp_path: Path, pki: Pki, dialogue: Path, bytewise: bool) -> None:
    lines = [line for line in dialogue.read_text().splitlines() if not line.startswith("#")]
    listener = lines.pop(0).removeprefix("listener: ")
    limits = {}
    if lines[0].startswith("limits: "):
        limits = {name: int(value) for name, _, value in (each.partition("=") for each in lines.pop(0).split()[1:])}
    async with house(tmp_path, pki, limits) as gatehouse, gatehouse.client(listener, greeted=False) as client:
        replay = Replay(gatehouse, client, bytewise)
        for line in lines:
            await replay.step(line)
