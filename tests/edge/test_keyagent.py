"""Key agents as real processes over a real SoftHSM token, asked through their sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_public_key

from gateway.config.model import Config, KeyPurpose, Token
from gateway.edge.agentclient import AgentSigner, AgentUnwrapper, _Link, _Lost
from gateway.edge.keyagent import Agent
from gateway.edge.keymeter import Meter
from gateway.edge.keyring import SIGNING, KeyRing
from gateway.edge.keywire import FrameReader, SignRequest, StatusRequest, UnwrapRequest, read_answer, write_request
from gateway.edge.tokensetup import KeyKind, KeyUse
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Digest, Kdf, Mechanism, Oaep, Pkcs1
from tests.agents import Agents, key_config
from tests.edge.test_tosign import attributes
from tests.smime.agreeing import agreed_x25519
from tests.softhsm import generate, new_token

Made = tuple[Path, Token, dict[str, bytes]]
CEK = bytes(range(32))
SHA256 = Mechanism.RSA_PKCS1_SHA256
KEYS = {"sign": KeyPurpose.SIGN, "ec-sign": KeyPurpose.SIGN, "decrypt": KeyPurpose.DECRYPT, "spool": KeyPurpose.SPOOL}


def now_attributes(digest: int = 32) -> bytes:
    return attributes(at=datetime.now(UTC), digest=bytes(digest))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("hsm")
    token = new_token(folder)
    public = generate(
        token,
        folder,
        sign=(KeyKind.RSA_2048, KeyUse.SIGN),
        ec_sign=(KeyKind.P256, KeyUse.SIGN),
        decrypt=(KeyKind.RSA_2048, KeyUse.DECRYPT),
        spool=(KeyKind.RSA_2048, KeyUse.DECRYPT),
    )
    return folder, token, public


@pytest.fixture
def agents(made: Made, tmp_path: Path) -> Iterator[Agents]:
    agents = Agents(tmp_path, key_config(tmp_path, made[1], KEYS))
    yield agents
    agents.close()


@pytest.fixture
def public(made: Made) -> dict[str, rsa.RSAPublicKey]:
    keys = {name: load_der_public_key(info) for name, info in made[2].items()}
    return {name: key for name, key in keys.items() if isinstance(key, rsa.RSAPublicKey)}


@pytest.fixture
async def signer(agents: Agents) -> AsyncIterator[AgentSigner]:
    signer = AgentSigner([agents.start("sign-0", sign=True)])
    yield signer
    await signer.close()


@pytest.fixture
async def unwrapper(agents: Agents) -> AsyncIterator[AgentUnwrapper]:
    unwrapper = AgentUnwrapper([agents.start("unwrap-0", sign=False)])
    yield unwrapper
    await unwrapper.close()


async def test_attributes_are_signed(signer: AgentSigner, public: dict[str, rsa.RSAPublicKey], made: Made) -> None:
    der = now_attributes()
    public["sign"].verify(await signer.sign("sign", der, SHA256), der, padding.PKCS1v15(), hashes.SHA256())
    key = load_der_public_key(made[2]["ec-sign"])
    assert isinstance(key, ec.EllipticCurvePublicKey)
    der = now_attributes(digest=48)
    key.verify(await signer.sign("ec-sign", der, Mechanism.ECDSA_SHA384), der, ec.ECDSA(hashes.SHA384()))


async def test_many_requests_on_one_connection_each_get_their_own_answer(
    signer: AgentSigner, public: dict[str, rsa.RSAPublicKey]
) -> None:
    asked = [attributes(at=datetime.now(UTC), digest=hashlib.sha256(bytes([count])).digest()) for count in range(100)]
    answers = await asyncio.gather(*(signer.sign("sign", der, SHA256) for der in asked))
    for der, answer in zip(asked, answers, strict=True):
        public["sign"].verify(answer, der, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    "der",
    [
        b"any text",
        hashlib.sha256(b"a digest").digest(),
        attributes(at=datetime.now(UTC), content="signed_data"),
        bytes(20_000),
        bytes(100_000),
    ],
    ids=["text", "digest", "other content", "long", "longer"],
)
async def test_the_sign_agent_signs_nothing_else(signer: AgentSigner, der: bytes) -> None:
    with pytest.raises(GatewayError) as error:
        await signer.sign("sign", der, SHA256)
    assert error.value.reason is Reason.OWN_WORK_WRONG
    assert await signer.sign("sign", now_attributes(), SHA256), "and it still signs what it should"


@pytest.mark.parametrize("off", [timedelta(minutes=-6), timedelta(hours=1)], ids=["stale", "early"])
async def test_another_time_than_now_is_not_signed_and_may_be_tried_again(signer: AgentSigner, off: timedelta) -> None:
    with pytest.raises(GatewayError, match="signing time is not now") as error:
        await signer.sign("sign", attributes(at=datetime.now(UTC) + off), SHA256)
    assert error.value.reason is Reason.KEY_UNAVAILABLE


async def test_keys_are_unwrapped(unwrapper: AgentUnwrapper, public: dict[str, rsa.RSAPublicKey]) -> None:
    assert await unwrapper.unwrap("decrypt", Pkcs1(public["decrypt"].encrypt(CEK, padding.PKCS1v15()), 32)) == CEK
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"label")
    oaep = Oaep(public["spool"].encrypt(CEK, scheme), 32, Digest.SHA256, Digest.SHA256, b"label")
    assert await unwrapper.unwrap("spool", oaep) == CEK


async def test_what_cannot_be_unwrapped_is_answered_with_a_random_key(unwrapper: AgentUnwrapper) -> None:
    for wrapped in (Pkcs1(bytes(256), 32), Pkcs1(b"", 16), Pkcs1(b"\x01" * 60_000, 24)):
        one, two = [await unwrapper.unwrap("decrypt", wrapped) for _ in range(2)]
        assert len(one) == len(two) == wrapped.length
        assert one != two


async def test_the_unwrap_agent_never_signs_and_the_sign_agent_never_unwraps(agents: Agents) -> None:
    sign, unwrap = agents.start("sign-0", sign=True), agents.start("unwrap-0", sign=False)
    for path, request, words in (
        (unwrap, SignRequest("sign", now_attributes(), SHA256), "no key 'sign'"),
        (unwrap, SignRequest("decrypt", now_attributes(), SHA256), "does not sign"),
        (sign, UnwrapRequest("decrypt", Pkcs1(bytes(256), 32)), "no key 'decrypt'"),
        (sign, UnwrapRequest("sign", Pkcs1(bytes(256), 32)), "does not unwrap"),
    ):
        answer = await asyncio.to_thread(plainly, path, write_request(7, request))
        frame = next(iter(FrameReader().feed(answer)))
        assert frame.number == 7
        with pytest.raises(GatewayError, match=words):
            read_answer(frame)


def plainly(path: Path, data: bytes) -> bytes:
    """What an agent answers to ``data``; empty where it ends the connection."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(data)
        try:
            return client.recv(65536)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\0\0\0\x05" + bytes(5), b"\0\0\0\x06\0\0\0\1\1\xff"])
async def test_noise_ends_its_connection_and_nothing_else(signer: AgentSigner, agents: Agents, data: bytes) -> None:
    assert await asyncio.to_thread(plainly, agents.folder / "sign-0.sock", data) == b""
    assert await signer.sign("sign", now_attributes(), SHA256)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_turned_away(agents: Agents) -> None:
    """Even where the file system would let him connect."""
    path = agents.start("sign-0", sign=True)
    path.chmod(0o666)
    shown = agents.folder.stat().st_mode
    for folder in (agents.folder, *agents.folder.parents[:-1]):
        if folder != Path("/tmp"):  # noqa: S108 - already open to all
            folder.chmod(folder.stat().st_mode | 0o011)
    script = (
        "import socket, sys\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "client.connect(sys.argv[1])\n"
        "try:\n"
        "    client.sendall(bytes.fromhex(sys.argv[2]))\n"
        "    print(len(client.recv(9)))\n"
        "except ConnectionError:\n"
        "    print(0)\n"
    )
    request = write_request(1, SignRequest("sign", now_attributes(), SHA256))
    told = await asyncio.to_thread(
        subprocess.run,
        ["/usr/bin/python3", "-c", script, str(path), request.hex()],
        capture_output=True,
        check=True,
        user=65534,
        group=65534,
    )
    agents.folder.chmod(shown)
    assert told.stdout == b"0\n"


async def test_after_kill_9_a_client_finds_the_agent_that_came_back(agents: Agents, signer: AgentSigner) -> None:
    assert await signer.sign("sign", now_attributes(), SHA256)
    agents.kill("sign-0")
    waiting = asyncio.create_task(signer.sign("sign", now_attributes(), SHA256))
    await asyncio.to_thread(agents.start, "sign-0", sign=True)
    assert await waiting
    assert await signer.sign("sign", now_attributes(), SHA256)


async def test_requests_under_way_survive_a_kill_9_while_another_agent_lives(agents: Agents) -> None:
    paths = [await asyncio.to_thread(agents.start, f"sign-{number}", sign=True) for number in range(2)]
    signer = AgentSigner(paths)
    under_way = [asyncio.create_task(signer.sign("sign", now_attributes(), SHA256)) for _ in range(60)]
    await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(agents.kill, "sign-0")
    assert len(await asyncio.gather(*under_way)) == 60
    await signer.close()


async def test_both_agents_get_work(agents: Agents) -> None:
    paths = [await asyncio.to_thread(agents.start, f"sign-{number}", sign=True) for number in range(2)]
    signer = AgentSigner(paths)
    for _ in range(4):
        await signer.sign("sign", now_attributes(), SHA256)
    await asyncio.gather(*(signer.sign("sign", now_attributes(), SHA256) for _ in range(20)))
    used = [json.loads(told)["used"]["sign"] for told in await signer.status() if told]
    assert used == [12, 12]
    await signer.close()


async def test_an_agent_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.agentclient.CONNECT_SECONDS", 0.1)
    with pytest.raises(GatewayError, match=r"KEY_UNAVAILABLE: no key agent listens on .*nobody.sock"):
        await AgentSigner([tmp_path / "nobody.sock"]).sign("sign", b"", SHA256)


async def test_an_agent_that_does_not_answer_is_left_at_the_deadline(tmp_path: Path) -> None:
    hung = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung.set()

    server = await asyncio.start_unix_server(never, tmp_path / "hung.sock")
    signer = AgentSigner([tmp_path / "hung.sock"], deadline=0.2)
    with pytest.raises(GatewayError, match="no key agent answered"):
        await signer.sign("sign", b"", SHA256)
    await hung.wait()
    await signer.close()
    server.close()


async def test_sigterm_answers_what_waits_and_ends_with_0(agents: Agents, signer: AgentSigner) -> None:
    asked = [asyncio.create_task(signer.sign("sign", now_attributes(), SHA256)) for _ in range(30)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert await asyncio.to_thread(agents.stop, "sign-0") == 0
    assert len([task for task in asked if task.done() and task.exception() is None]) == 30
    assert not (agents.folder / "sign-0.sock").exists()


async def test_a_token_that_goes_away_and_comes_back(agents: Agents, made: Made, tmp_path: Path) -> None:
    shutil.copytree(made[0], tmp_path / "own")
    conf = tmp_path / "own" / "softhsm2.conf"
    conf.write_text(conf.read_text().replace(str(made[0]), str(tmp_path / "own")))
    agents.config = key_config(tmp_path, made[1].model_copy(update={"environment": {"SOFTHSM2_CONF": str(conf)}}), KEYS)
    signer = AgentSigner([await asyncio.to_thread(agents.start, "sign-0", sign=True)])
    assert await signer.sign("sign", now_attributes(), SHA256)
    (tmp_path / "own" / "tokens").rename(tmp_path / "away")
    with pytest.raises(GatewayError, match="KEY_UNAVAILABLE: PKCS#11 module"):
        await signer.sign("sign", now_attributes(), SHA256)
    (tmp_path / "away").rename(tmp_path / "own" / "tokens")
    async with asyncio.timeout(10):
        while True:
            try:
                assert await signer.sign("sign", now_attributes(), SHA256)
                break
            except GatewayError:
                await asyncio.sleep(0.05)
    await signer.close()


async def test_a_wrong_pin_stops_every_agent_and_every_restart(agents: Agents, made: Made, tmp_path: Path) -> None:
    shutil.copytree(made[0], tmp_path / "own")
    conf, pin = tmp_path / "own" / "softhsm2.conf", tmp_path / "own" / "pin"
    conf.write_text(conf.read_text().replace(str(made[0]), str(tmp_path / "own")))
    right = pin.read_text()
    pin.write_text("000000")
    source = made[1].pin.model_copy(update={"file": pin})
    token = made[1].model_copy(update={"environment": {"SOFTHSM2_CONF": str(conf)}, "pin": source})
    agents.config = key_config(tmp_path, token, KEYS)
    both = await asyncio.gather(
        asyncio.to_thread(agents.fails, "sign-0", sign=True), asyncio.to_thread(agents.fails, "unwrap-0", sign=False)
    )
    assert all(both)
    marker = (tmp_path / "keys" / "pin-refused").stat().st_mtime_ns
    assert await asyncio.to_thread(agents.fails, "sign-0", sign=True)
    assert (tmp_path / "keys" / "pin-refused").stat().st_mtime_ns == marker
    details = {event["detail"] for event in agents.events()}
    assert len(details) == 1
    assert "refused the PIN from file" in details.pop()
    pin.write_text(right)
    signer = AgentSigner([await asyncio.to_thread(agents.start, "sign-0", sign=True)])
    assert await signer.sign("sign", now_attributes(), SHA256)
    await signer.close()


async def test_keys_in_files_are_served_by_agents_too(agents: Agents, tmp_path: Path) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    files = {"sign": tmp_path / "key.pem", "decrypt": tmp_path / "key.pem"}
    agents.config = key_config(tmp_path, None, {"sign": KeyPurpose.SIGN, "decrypt": KeyPurpose.DECRYPT}, files)
    signer = AgentSigner([await asyncio.to_thread(agents.start, "sign-0", sign=True)])
    unwrapper = AgentUnwrapper([await asyncio.to_thread(agents.start, "unwrap-0", sign=False)])
    der = now_attributes()
    private.public_key().verify(await signer.sign("sign", der, SHA256), der, padding.PKCS1v15(), hashes.SHA256())
    wrapped = private.public_key().encrypt(CEK, padding.PKCS1v15())
    assert await unwrapper.unwrap("decrypt", Pkcs1(wrapped, 32)) == CEK
    assert len(await unwrapper.unwrap("decrypt", Pkcs1(bytes(256), 32))) == 32
    await signer.close()
    await unwrapper.close()


async def test_x25519_is_agreed_on_by_agents_too(tmp_path: Path) -> None:
    key = x25519.X25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    config = key_config(tmp_path, None, {"mail": KeyPurpose.DECRYPT}, {"mail": tmp_path / "key.pem"})
    agents = Agents(tmp_path, config)
    unwrapper = AgentUnwrapper([agents.start("unwrap-0", sign=False)])
    try:
        for kdf, salt in ((Kdf.X963, b""), (Kdf.HKDF, b""), (Kdf.HKDF, b"salt")):
            good = agreed_x25519(key.public_key(), kdf, salt)
            assert await unwrapper.unwrap("mail", good) == CEK
            assert await unwrapper.unwrap("mail", replace(good, wrapped=bytes(40))) != CEK
    finally:
        await unwrapper.close()
        agents.close()


async def test_one_missing_key_does_not_stop_the_others(agents: Agents, made: Made, tmp_path: Path) -> None:
    agents.config = key_config(tmp_path, made[1], {"absent": KeyPurpose.SIGN, "sign": KeyPurpose.SIGN})
    signer = AgentSigner([await asyncio.to_thread(agents.start, "sign-0", sign=True)])
    assert await signer.sign("sign", now_attributes(), SHA256)
    with pytest.raises(GatewayError, match="no private key is labelled 'absent'"):
        await signer.sign("absent", now_attributes(), SHA256)
    assert agents.events()[0]["event"] == "KeyFailed"
    await signer.close()


async def test_the_audit_key_signs_what_every_key_signs_and_opens_nothing(agents: Agents, made: Made, tmp_path: Path) -> None:
    """It is at the sign agent, which does not become a signer of anything for its sake."""
    agents.config = key_config(tmp_path, made[1], {"sign": KeyPurpose.AUDIT, "decrypt": KeyPurpose.DECRYPT})
    signer = AgentSigner([await asyncio.to_thread(agents.start, "sign-0", sign=True)])
    unwrapper = AgentUnwrapper([await asyncio.to_thread(agents.start, "unwrap-0", sign=False)])
    assert await signer.sign("sign", now_attributes(), SHA256)
    for der in (b'{"v":1,"seq":1}', hashlib.sha256(b"heads").digest()):
        with pytest.raises(GatewayError) as error:
            await signer.sign("sign", der, SHA256)
        assert error.value.reason is Reason.OWN_WORK_WRONG
    with pytest.raises(GatewayError) as error:
        await unwrapper.unwrap("sign", Pkcs1(bytes(256), 32))
    assert error.value.reason is Reason.KEY_UNAVAILABLE
    await signer.close()
    await unwrapper.close()


async def test_the_audit_sees_each_use(agents: Agents, signer: AgentSigner) -> None:
    await signer.sign("sign", now_attributes(), SHA256)
    with pytest.raises(GatewayError):
        await signer.sign("sign", b"no", SHA256)
    assert [(event["event"], event["key"], event["operation"]) for event in agents.events()] == [
        ("KeyUsed", "sign", "sign"),
        ("KeyFailed", "sign", "sign"),
    ]


def test_agents_that_start_together_all_open_the_token(agents: Agents) -> None:
    """SoftHSM fails in some of such starts; the lock and the second try make up for it."""
    for number in range(4):
        agents.start(f"sign-{number}", sign=True)


class Willing(KeyRing):
    """A ring that signs anything, and stumbles over what is marked so."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, SIGNING, lambda: time.time_ns() // 1000)

    def perform(self, request: SignRequest | UnwrapRequest) -> bytes:
        if isinstance(request, SignRequest) and request.to_be_signed == b"stumble":
            raise ZeroDivisionError
        return b"signed"


class Deaf:
    def see(self, event: object, /) -> None:
        pass


async def serving(agent: Agent, path: Path) -> asyncio.Task[None]:
    listening = asyncio.Event()
    task = asyncio.create_task(agent.serve(path, listening.set))
    await listening.wait()
    return task


async def test_a_request_that_fails_unforeseen_ends_nothing_else(tmp_path: Path) -> None:
    """It is answered as one that may be asked again; those before and behind it on the connection are answered as ever."""
    ring = Willing(key_config(tmp_path, None, {"sign": KeyPurpose.SIGN}, {"sign": tmp_path / "key.pem"}))
    task = await serving(Agent(ring, Deaf(), users={os.geteuid()}), tmp_path / "agent.sock")
    signer = AgentSigner([tmp_path / "agent.sock"])
    asked = [signer.sign("sign", what, SHA256) for what in (b"", b"stumble", b"")]
    before, stumbled, behind = await asyncio.gather(*asked, return_exceptions=True)
    assert (before, behind) == (b"signed", b"signed")
    assert isinstance(stumbled, GatewayError)
    assert stumbled.reason is Reason.KEY_UNAVAILABLE
    assert "ZeroDivisionError" in stumbled.detail
    await signer.close()
    os.kill(os.getpid(), 15)
    await task


async def test_ceilings_of_a_key(tmp_path: Path) -> None:
    ring = Willing(key_config(tmp_path, None, {"sign": KeyPurpose.SIGN}, {"sign": tmp_path / "key.pem"}))
    agent = Agent(ring, Deaf(), users={os.geteuid()}, meter=Meter(per_day=2))
    task = await serving(agent, tmp_path / "agent.sock")
    signer = AgentSigner([tmp_path / "agent.sock"])
    for _ in range(2):
        assert await signer.sign("sign", b"", SHA256) == b"signed"
    with pytest.raises(GatewayError, match="used 2 times today"):
        await signer.sign("sign", b"", SHA256)
    await signer.close()
    os.kill(os.getpid(), 15)
    await task


def test_a_meter_counts_by_key_second_and_day() -> None:
    meter, second, day = Meter(per_second=2, per_day=3), 1_000_000, 86_400_000_000
    assert [meter.exceeded("a", at) is None for at in (0, 1, 2)] == [True, True, False]
    assert meter.exceeded("b", 3) is None
    assert meter.exceeded("a", second) is None
    assert meter.exceeded("a", 2 * second) is not None, "three today"
    assert meter.exceeded("a", day) is None
    assert meter.total == {"a": 4, "b": 1}


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_is_just_being_lost_is_asked_nothing(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """uvloop raises an error of its own then, and the mail it was asked for would be put aside as broken."""

    async def scenario(here: socket.socket) -> None:
        transport, link = await asyncio.get_running_loop().create_unix_connection(_Link, sock=here)
        transport.abort()
        assert not link.open
        with pytest.raises(_Lost):
            await link.ask(StatusRequest())
        await asyncio.sleep(0)  # the loop closes the socket

    here, there = socket.socketpair()
    with there, asyncio.Runner(loop_factory=loop) as runner:
        here.setblocking(False)
        runner.run(scenario(here))
