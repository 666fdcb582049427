"""Every dialogue in tests/dialogues, whole and a byte at a time: over a real socket, and against the grammar alone.

Over the socket, each refusal that was said must also be one event, in the same order.
"""

import asyncio
import re
from pathlib import Path

import pytest

from gateway.events import CommandRefused, MailRefused, PeerRejected
from gateway.receive import replies
from gateway.smtp.command import MAX_REFUSED, Bdat, Command, Data, Hello, MailFrom, Reset, StartTls, parse_command
from gateway.smtp.data import ChunkReader, DataReader
from gateway.smtp.reply import Reply
from tests.receive.dialogue import DIALOGUES, Closed, Dialogue, Hear, Send, Spool, Step, Tls, read_dialogue
from tests.receive.gatehouse import Client, House, Pki, configuration, house

BYTEWISE = pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
EVERY = pytest.mark.parametrize("path", DIALOGUES, ids=[path.stem for path in DIALOGUES])


def pieces(data: bytes, bytewise: bool) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))] if bytewise else [data]


class Replay:
    """Plays the client's part."""

    def __init__(self, house: House, client: Client, bytewise: bool) -> None:
        self._house = house
        self._client = client
        self._bytewise = bytewise
        self.refusals: list[str] = []
        """What was said that is a refusal, each by its last line."""

    async def step(self, step: Step) -> None:
        match step:
            case Send(data, together):
                for piece in pieces(data, self._bytewise and not together):
                    await self._client.send(piece)
                    await asyncio.sleep(0)
            case Hear(lines, whole):
                heard = (await self._client.reply()).split("\n")
                if heard[-1][:1] in ("4", "5") and heard[-1] not in (str(replies.ENOUGH), str(replies.LEAVING)):
                    self.refusals.append(heard[-1])
                if not whole:
                    heard = heard[-1:]
                assert len(heard) == len(lines), f"{heard!r} is not {lines!r}"
                for line, pattern in zip(heard, lines, strict=True):
                    assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"
            case Tls():
                await self._client.writer.start_tls(self._house.client_tls(), server_hostname="gateway.hospital.example")
            case Closed():
                assert await self._client.reader.read() == b""
            case Spool(mails):
                assert len(self._house.spool.accepted) == mails == len(self._house.spool.bodies.kept)


@BYTEWISE
@EVERY
async def test_over_a_socket(tmp_path: Path, pki: Pki, path: Path, bytewise: bool) -> None:
    dialogue = read_dialogue(path)
    async with house(tmp_path, pki, dialogue.limits) as gatehouse, gatehouse.client(dialogue.listener, greeted=False) as client:
        replay = Replay(gatehouse, client, bytewise)
        for step in dialogue.steps:
            await replay.step(step)
        events = [event for event in gatehouse.events.seen if isinstance(event, CommandRefused | MailRefused | PeerRejected)]
        assert len(events) == len(replay.refusals)
        for event, said in zip(events, replay.refusals, strict=True):
            assert not isinstance(event, CommandRefused) or event.reply == said


@BYTEWISE
@EVERY
def test_against_the_grammar(tmp_path: Path, path: Path, bytewise: bool) -> None:
    """What the pure grammar says of the same octets: each refusal that is its to give, each message and each end of one."""
    dialogue = read_dialogue(path)
    limits = configuration(tmp_path, dialogue.limits).limits
    grammar = Grammar(dialogue, bytewise, limits.message_megabytes << 20, limits.received)
    grammar.replay()
    (told,) = [step.mails for step in dialogue.steps if isinstance(step, Spool)]
    assert grammar.mails == told


class Grammar:
    """Reads what the client sends as grammar alone, in step with the replies of the dialogue, which say what was obeyed."""

    def __init__(self, dialogue: Dialogue, bytewise: bool, limit: int, received: int) -> None:
        self.mails = 0
        self._dialogue = dialogue
        self._bytewise = bytewise
        self._limits = (limit, received)
        self._input = b""
        self._answers = [step.last for step in dialogue.steps if isinstance(step, Hear)]
        self._offered: frozenset[str] = frozenset()
        self._secured = False
        self._smtputf8 = False
        self._chunks: ChunkReader | None = None
        self._over = False

    def replay(self) -> None:
        assert self._answers.pop(0).startswith("220")
        sent: list[bytes] = []
        for step in self._dialogue.steps:
            if isinstance(step, Send):
                sent.append(step.data)
            elif isinstance(step, Tls | Closed):
                self._read(b"".join(sent))
                sent = []
                self._secured, self._offered = True, frozenset()
        assert all(answer.startswith("421") for answer in self._answers), self._answers

    def _read(self, data: bytes) -> None:
        self._input = data
        while self._input and not self._over:
            line, end, self._input = self._input.partition(b"\r\n")
            assert end or b"\n" in line
            answer = self._answers.pop(0)
            if b"\n" in line or len(line) > MAX_REFUSED:
                assert answer.startswith("521")
                self._over = True
                return
            self._over = answer[:3] in ("221", "421", "521")
            command = parse_command(line, self._offered, smtputf8=self._smtputf8, home="hospital.example")
            if isinstance(command, Reply):
                assert answer.startswith("421") or re.fullmatch(answer, str(command)), (line, answer, command)
            else:
                assert answer[:3] not in ("500", "555"), (line, answer)
                self._obey(command, answer)

    def _obey(self, command: Command, answer: str) -> None:
        match command:
            case Hello(_, extended) if answer.startswith("250"):
                words = {"SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING"} | ({"REQUIRETLS"} if self._secured else set())
                self._offered, self._chunks = frozenset(words if extended else ()), None
            case MailFrom() if answer.startswith("250"):
                self._smtputf8, self._chunks = command.smtputf8, ChunkReader(*self._limits)
            case Reset():
                self._chunks = None
            case Data() if answer.startswith("354"):
                self._data()
            case Bdat(size, last):
                self._bdat(size, last, answer)
            case StartTls() if answer.startswith("220"):
                assert not self._input

    def _data(self) -> None:
        reader = DataReader(*self._limits)
        waiting = pieces(self._input, self._bytewise)
        while reader.rest is None:
            reader.feed(waiting.pop(0))
        self._input = reader.rest + b"".join(waiting)
        self._end(reader, self._answers.pop(0))

    def _bdat(self, size: int, last: bool, answer: str) -> None:
        chunk, self._input = self._input[:size], self._input[size:]
        if re.match(r"503|554 5\\\.5\\\.1", answer):
            return
        assert self._chunks is not None
        for piece in pieces(chunk, self._bytewise):
            self._chunks.feed(piece)
        if last:
            self._chunks.finish()
            self._end(self._chunks, answer)
        else:
            assert self._chunks.fault is None

    def _end(self, reader: DataReader | ChunkReader, answer: str) -> None:
        if reader.fault is not None:
            assert re.fullmatch(answer, str(reader.fault.reply)), (answer, reader.fault)
        else:
            assert answer.startswith("250")
            self.mails += 1
