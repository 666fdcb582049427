"""``smime-gateway message open`` over messages of others: its verdict as JSON, its exit code, and what it writes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from gateway.operate.cli import main
from tests.conformance.material import MATERIAL, needs
from tests.pki import Ca

THUNDERBIRD: Final = MATERIAL / "smime/comm-central/smime"
RFC9788: Final = MATERIAL / "smime/rfc9788"
PEOPLE: Final = MATERIAL / "smime/rfc9216-lamps-samples"
RFC4134: Final = MATERIAL / "smime/rfc4134-bc"
FUZZ: Final = "attacks/openssl-fuzz-cms"

pytestmark = pytest.mark.filterwarnings("ignore:PKCS#12 bundle could not be parsed as DER")  # cryptography, of files of NSS


def told(folder: Path, message: Path | bytes, *options: str | Path) -> tuple[int, dict[str, Any], bytes]:
    """The exit code, what it says, and the message it writes."""
    path = folder / "message"
    path.write_bytes(message if isinstance(message, bytes) else message.read_bytes())
    words = ["message", "open", path, "--json", "--output", folder / "out", *options]
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    written = (folder / "out").read_bytes() if (folder / "out").is_file() else b""
    return result.exit_code, json.loads(result.stdout), written


@needs("smime/comm-central")
@pytest.mark.parametrize(("digest", "verdict", "code"), [("SHA256", "verified", 0), ("SHA1", "signed-unverified", 1)])
def test_thunderbird(tmp_path: Path, digest: str, verdict: str, code: int) -> None:
    (tmp_path / "passphrase").write_text("nss\n")
    (tmp_path / "passphrase").chmod(0o600)
    options = ("--key", THUNDERBIRD / "Bob.p12", "--passphrase", tmp_path / "passphrase", "--trust", THUNDERBIRD / "TestCA.pem")
    mail = THUNDERBIRD / f"alice.dsig.{digest}.multipart.env.eml"
    ended, said, written = told(tmp_path, mail, *options, "--at", "2026-05-28T00:00:00Z", "--legacy")
    assert (ended, said["verdict"], said["encrypted"]) == (code, verdict, True)
    assert b"This is a test message from Alice to Bob." in written


@needs("smime/rfc9788")
@needs("smime/rfc9216-lamps-samples")
def test_rfc9788(tmp_path: Path) -> None:
    (root,) = PEOPLE.glob("3.1_*.pem")
    options = ("--trust", root, "--at", "2027-01-01T00:00:00Z")
    ended, said, _ = told(tmp_path, RFC9788 / "C.2.1_smime-one-part-hp.eml", *options)
    assert (ended, said["verdict"], said["subject"]) == (0, "verified", "smime-one-part-hp")


@needs("smime/rfc4134-bc")
@pytest.mark.parametrize(("options", "signature"), [((), "unsupported"), (("--legacy",), "good")])
def test_rfc4134(tmp_path: Path, options: tuple[str, ...], signature: str) -> None:
    given = ("--trust", RFC4134 / "CarlRSASelf.cer", "--at", "2000-01-01T00:00:00Z")
    ended, said, _ = told(tmp_path, RFC4134 / "4.8.eml", *given, *options)
    assert (ended, said["verdict"]) == (1, "signed-unverified")
    assert said["layers"][0]["signers"][0]["signature"] == signature
    assert "WEAK_ALGORITHM" in said["reasons"]


@needs(FUZZ)
def test_any_structure_in_a_mail_ends_with_an_answer(tmp_path: Path) -> None:
    """OpenSSL's fuzz inputs as mail: never verified, and never an error of ours."""
    head = b"From: a@b.example\r\nContent-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    anchor = tmp_path / "anchor.pem"
    anchor.write_bytes(Ca.root().pem)
    inputs = [path for path in (MATERIAL / FUZZ).iterdir() if "." not in path.name]
    for path in inputs:
        message = head + base64.encodebytes(path.read_bytes()).replace(b"\n", b"\r\n")
        ended, said, _ = told(tmp_path, message, "--trust", anchor, "--legacy")
        assert ended == 1
        assert said["verdict"] in ("malformed", "undecryptable", "signed-unverified"), path.name
