"""The audit of a running gateway under signed heads, verified by the command and by openssl, whole and tampered with."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.site import Site, command
from gateway.edge.observe import Audit
from tests.system.lab import Lab, letter, send, until

pytestmark = pytest.mark.timeout(300)


def audit_folder(site: Site) -> Path:
    return site.folder / "state" / "audit"


def verify(site: Site, *options: str | Path) -> tuple[int, dict[str, Any]]:
    done = command("audit", "verify", "--json", "--config", site.configuration, *options)
    return done.returncode, json.loads(done.stdout)


def segment(site: Site) -> Path:
    """That of the worker that had most to say: which took the mails is up to them."""
    return max(audit_folder(site).glob("worker-*.jsonl"), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    """A gateway that ran twice, and a copy of its audit as it was then."""
    folder = tmp_path_factory.mktemp("audit")
    with Lab(folder) as lab:
        site, _ = lab.pair()  # the other is away: what is sent to it waits
        for round_ in range(2):
            site.start()
            for number in range(4):
                send(site.inside, letter(f"{round_} {number}"))
            if round_ == 0:
                until(lambda: verify(site)[1]["records"], "the first record, while the gateway runs")
                assert verify(site)[1]["findings"] == []
                until(lambda: b"smime_gateway_audit_signed_seconds" in metrics(site), "the age of the last record")
            assert site.stop() == 0
        shutil.copytree(audit_folder(site), folder / "whole")
        yield site, folder / "whole"


def metrics(site: Site) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.metrics}/metrics", timeout=20) as answer:
        text: bytes = answer.read()
    return text


@pytest.fixture
def site(world: tuple[Site, Path]) -> Site:
    site, whole = world
    shutil.rmtree(audit_folder(site), ignore_errors=True)
    shutil.copytree(whole, audit_folder(site))
    return site


def test_intact(site: Site) -> None:
    """Two runs, every process of both; what the agents and the supervisor said after the last record is counted."""
    status, told = verify(site)
    assert (status, told["intact"], told["findings"]) == (0, True, [])
    assert told["segments"] == len(list(audit_folder(site).glob("*.jsonl")))
    assert told["records"] >= 2
    assert told["last"]["key"] == "audit-1"
    assert {name.rpartition("-")[0].rpartition("-")[0].rpartition("-")[0] for name in told["beyond"]} <= {
        "supervisor",
        "control",
        "sign-agent",
        "unwrap-agent",
    }
    people = command("audit", "verify", "--config", site.configuration)
    assert people.returncode == 0
    assert people.stdout.splitlines()[-1] == "intact"


def test_openssl_verifies_every_record(site: Site, tmp_path: Path) -> None:
    """With the public key that ``init`` wrote."""
    key = site.folder / "certificates" / "audit-1.pem"
    script = """
        while IFS="$(printf '\\t')" read -r content attributes signature; do
            printf %s "$attributes" | openssl base64 -d -A > attributes
            printf %s "$signature" | openssl base64 -d -A > signature
            openssl dgst -sha256 -verify "$1" -signature signature attributes
            printf %s "$content" | openssl dgst -sha256 -r | cut -c1-64 > digest
            openssl asn1parse -inform DER -in attributes | grep -i -q "$(cat digest)"
        done < "$2"
    """
    heads = audit_folder(site) / "heads.signed"
    arguments = ["sh", "-ec", script, "sh", str(key), str(heads)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Verified OK"] * verify(site)[1]["records"]


def cut(path: Path, lines: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-lines]))


def test_the_end_of_a_segment_cut_off(site: Site) -> None:
    path = segment(site)
    cut(path, 1)
    status, told = verify(site)
    assert status == 1
    assert [(found["what"], found["file"]) for found in told["findings"]] == [("cut-off", path.name)]


def test_a_segment_gone(site: Site) -> None:
    path = segment(site)
    path.unlink()
    status, told = verify(site)
    assert status == 1
    assert [(found["what"], found["file"]) for found in told["findings"]] == [("missing", path.name)]
    people = command("audit", "verify", "--config", site.configuration)
    assert f"missing: {path.name}" in people.stdout
    assert people.stdout.splitlines()[-1] == "not intact"


def test_a_segment_written_anew(site: Site) -> None:
    """A chain without a fault, by our own program, with another sender in it."""
    path = segment(site)
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    path.unlink()
    forged = Audit(audit_folder(site), "forged", lambda: 1_772_366_400_000_000)
    for record in records:
        forged.write(record["event"], {"sender": "somebody@else.example"})
    forged.close()
    forged.path.rename(path)
    status, told = verify(site)
    assert status == 1
    assert {(found["what"], found["file"]) for found in told["findings"]} == {("changed", path.name)}


@pytest.mark.parametrize(("keep", "what"), [(slice(1, None), "removed"), (slice(0, -1), "missing")])
def test_a_record_of_heads_gone(site: Site, keep: slice, what: str) -> None:
    path = audit_folder(site) / "heads.signed"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[keep]))
    status, told = verify(site)
    assert status == 1
    assert (what, "heads.signed") in [(found["what"], found["file"]) for found in told["findings"]]


def test_by_a_key_kept_elsewhere(site: Site, tmp_path: Path) -> None:
    """The right one says the same as the configuration; another believes nothing."""
    kept = shutil.copy(site.folder / "certificates" / "audit-1.pem", tmp_path)
    assert verify(site, "--public-key", kept)[0] == 0
    status, told = verify(site, "--public-key", site.folder / "certificates" / "spool-1.pem")
    assert (status, told["last"]) == (1, None)
    assert "bad-signature" in {found["what"] for found in told["findings"]}


def test_without_an_audit(site: Site, tmp_path: Path) -> None:
    """Nothing to read is wrong usage or unreadable input, never an intact audit."""
    shutil.rmtree(audit_folder(site))
    assert verify(site)[0] == 2
