"""``message open`` on anything: one JSON object with the verdict and why; status 2 only for what cannot be read, or wrong usage."""

from __future__ import annotations

import base64
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.operate.cli import main
from tests.pki import Ca, Issued

FUZZ = (
    Path(os.environ.get("CONFORMANCE_DIR", Path(__file__).parents[3] / "shared" / "conformance")) / "attacks" / "openssl-fuzz-cms"
)
HEAD = b"From: results@laboratory.example\r\nMIME-Version: 1.0\r\n"
SEALED = HEAD + b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n"
DETACHED = HEAD + (
    b"Content-Type: multipart/signed; protocol=application/pkcs7-signature; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n"
    b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n"
)
VERDICTS = {"verified", "signed-unverified", "unsigned", "undecryptable", "malformed", "mixed"}
NO_MESSAGE = {
    "NUL": b"From: a\0b@laboratory.example\r\n\r\nhello\r\n",
    "bare CR": b"From: a\rb\r\n\r\n",
    "binary": bytes(range(256)) * 4,
    "random": random.Random(7).randbytes(4096),  # noqa: S311 - noise
    "an elf": b"\x7fELF\x02\x01\x01\0" + bytes(200),
    "no line end": b"From: results@laboratory.example",
    "der": bytes.fromhex("308006092a864886f70d010702a0800000"),
    "endless header": b"a: b\r\n" * 60_000,
    "too many fields": b"a: b\r\n" * 5000 + b"\r\n",
}
UNSIGNED = {
    "empty": b"",
    "a line end": b"\r\n",
    "no header": b"\r\nhello\r\n",
    "header alone": b"From: results@laboratory.example\r\n",
    "no fields": b"hello\r\nthere\r\n",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ca, Issued]:
    folder, ca = tmp_path_factory.mktemp("badinput"), Ca.root()
    reader = ca.reader("cardiology@hospital.example")
    reader.write(folder, "reader")
    (folder / "ca.pem").write_bytes(ca.pem)
    return folder, ca, reader


def run(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Status and the one JSON object on standard output."""
    result = CliRunner().invoke(main, ["message", "open", *map(str, arguments), "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = json.loads(result.stdout)
    assert isinstance(told, dict)
    assert result.stdout.count("\n") == 1
    return result.exit_code, told


def opened(world: tuple[Path, Ca, Issued], data: bytes, *more: str | Path) -> tuple[int, dict[str, Any]]:
    folder = world[0]
    (folder / "message").write_bytes(data)
    return run(folder / "message", "--key", folder / "reader.key", "--trust", folder / "ca.pem", *more)


@pytest.mark.parametrize("name", NO_MESSAGE)
def test_what_has_no_header_to_read_is_malformed(world: tuple[Path, Ca, Issued], tmp_path: Path, name: str) -> None:
    status, told = opened(world, NO_MESSAGE[name], "--output", tmp_path / "out")
    assert status == 1
    assert told == {
        "verdict": "malformed",
        "from": [],
        "encrypted": False,
        "assurance": None,
        "reasons": ["LIMIT" if name in ("endless header", "too many fields") else "MALFORMED"],
        "layers": [],
        "subject": None,
    }
    assert not (tmp_path / "out").exists(), "no mailbox would get it"


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_can_be_read_and_says_nothing_is_unsigned(world: tuple[Path, Ca, Issued], name: str) -> None:
    status, told = opened(world, UNSIGNED[name])
    assert (status, told["verdict"], told["reasons"]) == (1, "unsigned", [])


@pytest.mark.parametrize("size", [0, 1, 2, 40, 300])
def test_a_structure_that_ends_too_early_is_malformed(world: tuple[Path, Ca, Issued], tmp_path: Path, size: int) -> None:
    """No key is used for it; it is written as it came, marked."""
    structure = bytes.fromhex("3082020006092a864886f70d010703a08201f1") + bytes(500)
    message = SEALED + base64.encodebytes(structure[:size]).replace(b"\n", b"\r\n")
    status, told = opened(world, message, "--output", tmp_path / "out")
    assert (status, told["verdict"], told["reasons"]) == (1, "malformed", ["MALFORMED"])
    assert (tmp_path / "out").read_bytes().endswith(message)


def test_a_message_beyond_what_is_read_is_malformed(world: tuple[Path, Ca, Issued], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.operate.messageoptions.MAX_MESSAGE", 1000)
    status, told = opened(world, HEAD + b"\r\n" + b"x" * 1000)
    assert (status, told["verdict"], told["reasons"]) == (1, "malformed", ["LIMIT"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.binary(max_size=400), around=st.sampled_from([b"%s", HEAD + b"\r\n%s", SEALED + b"%s", DETACHED]))
def test_any_bytes_give_a_verdict(world: tuple[Path, Ca, Issued], data: bytes, around: bytes) -> None:
    encoded = data if around in (b"%s", HEAD + b"\r\n%s") else base64.b64encode(data)
    status, told = opened(world, around.replace(b"%s", encoded))
    assert status == 1
    assert told["verdict"] in VERDICTS - {"verified"}


@pytest.mark.skipif(not FUZZ.is_dir(), reason="the set attacks/openssl-fuzz-cms is not here (CONFORMANCE_DIR)")
@pytest.mark.parametrize("around", [b"%s", SEALED + b"%s", DETACHED], ids=["as it is", "sealed", "detached"])
def test_every_hostile_input_gives_a_verdict(world: tuple[Path, Ca, Issued], around: bytes) -> None:
    inputs = [path for path in sorted(FUZZ.iterdir()) if path.is_file() and path.suffix != ".md"]
    assert len(inputs) >= 100
    for path in inputs:
        data = path.read_bytes()
        encoded = data if around == b"%s" else base64.encodebytes(data).replace(b"\n", b"\r\n")
        status, told = opened(world, around.replace(b"%s", encoded))
        assert (status, told["verdict"] in VERDICTS - {"verified"}) == (1, True), path
        assert told["reasons"] or told["verdict"] == "unsigned", path


class TestNotRead:
    """Status 2, and what was wrong."""

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        status, told = run(tmp_path / "none")
        assert (status, told["error"]) == (2, "usage")
        assert str(tmp_path / "none") in told["detail"]

    def test_a_directory(self, tmp_path: Path) -> None:
        status, told = run(tmp_path)
        assert (status, told["error"]) == (2, "usage")
        assert "directory" in told["detail"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
    def test_a_file_nobody_may_read(self, tmp_path: Path) -> None:
        (tmp_path / "m").write_bytes(HEAD)
        (tmp_path / "m").chmod(0)
        assert run(tmp_path / "m")[0] == 2

    @pytest.mark.parametrize("option", ["--key", "--trust", "--crl", "--passphrase"])
    def test_a_file_beside_it_that_is_not_what_it_should_be(self, world: tuple[Path, Ca, Issued], option: str) -> None:
        folder = world[0]
        for wrong in (folder, folder / "none"):
            status, told = opened(world, HEAD, option, wrong)
            assert (status, told["error"]) == (2, "usage"), (option, wrong)
        if option != "--passphrase":
            (folder / "wrong").write_bytes(b"something else")
            assert opened(world, HEAD, option, folder / "wrong")[0] == 2

    @pytest.mark.parametrize("moment", ["yesterday", "", "2026-13-01", "99999-01-01"])
    def test_a_time_that_is_none(self, world: tuple[Path, Ca, Issued], moment: str) -> None:
        status, told = opened(world, HEAD, "--at", moment)
        assert (status, told["error"]) == (2, "usage")

    def test_an_output_that_cannot_be_written(self, world: tuple[Path, Ca, Issued], tmp_path: Path) -> None:
        status, told = opened(world, HEAD + b"\r\nhello\r\n", "--output", tmp_path / "none" / "out")
        assert (status, told["error"]) == (2, "input")
        assert "none/out" in told["detail"]

    def test_an_option_nobody_knows_and_words_for_people_without_json(self, world: tuple[Path, Ca, Issued], tmp_path: Path) -> None:
        assert opened(world, HEAD, "--no-such-option")[1]["error"] == "usage"
        result = CliRunner().invoke(main, ["message", "open", str(tmp_path / "none")])
        assert (result.exit_code, result.stdout) == (2, "")
        assert "No such file" in result.stderr
