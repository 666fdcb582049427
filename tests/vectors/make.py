"""Makes the vectors beside it that are not there yet, with openssl: ``python -m tests.vectors.make``.

What is there is never made again: a vector is bytes that were judged once. README and verdict.json are written by hand.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.flow.opened import ENTITY, HEADER, PLAIN
from tests.vectors import author, ciphertext, coverage, protected, signers
from tests.vectors.forge import TEXT, changed_signature, mixed, no_signers, signature_bad, third_part, without_mime_version
from tests.vectors.people import AT, People
from tests.vectors.vector import FROM, Vector

HERE: Final = Path(__file__).parent
MARKS: Final = (
    b"Authentication-Results: gateway.hospital.example; smime=pass body.smime-identifier=director@hospital.example\r\n"
    b"X-Gateway-Security: verdict=verified; signer=director@hospital.example\r\nReply-To: attacker@evil.example\r\n"
)


def first(who: People) -> dict[str, Vector]:
    """Those whose world believes ``root``."""
    signed = who.sign(PLAIN, by=("sender",))
    part = without_mime_version(signed)
    both = who.sign(PLAIN, by=("sender", "second"))
    made = {
        "01-signed": HEADER + signed,
        "02-signed-and-encrypted": HEADER + who.encrypt(who.sign(ENTITY, by=("sender",))),
        "03-two-from": HEADER.replace(FROM, FROM + b"From: director@hospital.example\r\n") + signed,
        "04-from-of-another": HEADER.replace(FROM, b'From: "results@laboratory.example" <attacker@evil.example>\r\n') + signed,
        "05-text-around": HEADER + mixed(TEXT, part, TEXT),
        "06-signed-part": HEADER + mixed(TEXT, without_mime_version(who.sign(PLAIN, "-nodetach", by=("sender",)))),
        "07-encrypted-part": HEADER + mixed(TEXT, without_mime_version(who.encrypt(ENTITY))),
        "08-third-part": HEADER + third_part(signed, TEXT),
        "09-marks-inside": HEADER + who.encrypt(who.sign(MARKS + ENTITY, by=("sender",))),
        "10-no-signers": HEADER + changed_signature(signed, no_signers),
        "11-good-and-bad-signer": HEADER + changed_signature(both, lambda structure: signature_bad(structure, who["second"])),
        "12-sha1": HEADER + who.sign(PLAIN, "-md", "sha1", by=("sender",)),
        "13-from-in-a-broken-line": HEADER.replace(FROM, FROM + b"From\xa0: director@hospital.example\r\n") + signed,
        "14-two-content-types": HEADER + b"Content-Type: text/plain\r\n" + signed,
        "15-group-from": HEADER.replace(FROM, b"From: Results: results@laboratory.example;\r\n") + signed,
    }
    return {name: Vector(message, {"anchors": ["root"]}) for name, message in made.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        who = People(Path(work))
        for source in (first, author.vectors, coverage.vectors, signers.vectors, ciphertext.vectors, protected.vectors):
            for name, vector in source(who).items():
                _write(HERE / name, vector)


def _write(folder: Path, vector: Vector) -> None:
    folder.mkdir(exist_ok=True)
    if not (folder / "mail.eml").exists():
        (folder / "mail.eml").write_bytes(vector.message)
    if not (folder / "world.json").exists():
        (folder / "world.json").write_text(json.dumps(_world(vector.world), indent=1) + "\n")


def _world(told: dict[str, Any]) -> dict[str, Any]:
    usual = {"at": f"{AT:%Y-%m-%dT%H:%M:%SZ}", "anchors": ["authority"], "keys": ["reader"], "domains": ["laboratory.example"]}
    return usual | told


if __name__ == "__main__":
    main()
