"""Makes the vectors beside it that are not there yet, with openssl: ``python -m tests.vectors.make``.

What is there is never made again: a vector is bytes that were judged once. ``world`` keeps the keys, for the next vector.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from gateway.smime import der
from tests.flow.opened import ENTITY, HEADER, PLAIN, READER, SENDER, encrypt, sign
from tests.pki import Ca, Issued

HERE = Path(__file__).parent
WORLD = HERE / "world"
AT = "2027-01-01T12:00:00Z"
TEXT = b"Content-Type: text/plain\r\n\r\nPlease pay to the account below.\r\n"


@dataclass
class People:
    """Who takes part: the sender, a colleague of his, the reader."""

    folder: Path
    sender: Issued
    second: Issued
    reader: Issued

    def sign(self, entity: bytes, *options: str, by: tuple[Issued, ...] = ()) -> bytes:
        return sign(self.folder, entity, *(by or (self.sender,)), options=options)

    def encrypt(self, entity: bytes) -> bytes:
        return encrypt(self.folder, entity, self.reader)


def people(folder: Path) -> People:
    """Those of ``world``, made the first time."""
    if not WORLD.is_dir():
        WORLD.mkdir()
        ca = Ca.root(kind="rsa2048")
        (WORLD / "root.pem").write_bytes(ca.pem)
        for name, issued in (
            ("sender", ca.signer(SENDER, "rsa2048")),
            ("second", ca.signer("second@laboratory.example", "rsa2048")),
            ("reader", ca.reader(READER)),
        ):
            issued.write(WORLD, name)
    return People(folder, *(_load(name) for name in ("sender", "second", "reader")))


def _load(name: str) -> Issued:
    key = load_pem_private_key((WORLD / f"{name}.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return Issued(load_pem_x509_certificate((WORLD / f"{name}.pem").read_bytes()), key, ())


def mixed(*parts: bytes) -> bytes:
    body = b"".join(b"--around\r\n" + part + b"\r\n" for part in parts)
    return b'Content-Type: multipart/mixed; boundary="around"\r\n\r\n' + body + b"--around--\r\n"


def without_mime_version(entity: bytes) -> bytes:
    return entity.replace(b"MIME-Version: 1.0\r\n", b"")


def changed_structure(entity: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A multipart/signed with another signature in the place of its own."""
    before, _, rest = entity.rpartition(b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n')
    encoded, boundary, after = rest.partition(b"\r\n\r\n--")
    text = base64.encodebytes(change(base64.b64decode(encoded))).replace(b"\n", b"\r\n")
    return before + b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n' + text + boundary[2:] + after


def no_signers(structure: bytes) -> bytes:
    """SignedData with its signers taken out."""
    kind, wrapped = der.read(structure)
    version, digests, content, certificates, _ = next(iter(wrapped))
    inside = der.sequence(version.raw, digests.raw, content.raw, certificates.raw, der.set_of())
    return der.sequence(kind.raw, der.element(0xA0, inside))


def signature_bad(structure: bytes, signer: Issued) -> bytes:
    """SignedData with one byte of this signer's signature changed."""
    serial = der.integer(signer.certificate.serial_number)
    inside = structure.index(b"\x04\x82\x01\x00", structure.rindex(serial)) + 4
    return structure[:inside] + bytes((structure[inside] ^ 1,)) + structure[inside + 1 :]


def third_part(entity: bytes, part: bytes) -> bytes:
    """A multipart/signed with one part more behind the signature."""
    boundary = entity.split(b'boundary="')[1].split(b'"')[0]
    return entity.replace(b"--" + boundary + b"--", b"--" + boundary + b"\r\n" + part + b"\r\n--" + boundary + b"--")


FROM = b"From: Results <results@laboratory.example>\r\n"
MARKS = (
    b"Authentication-Results: gateway.hospital.example; smime=pass body.smime-identifier=director@hospital.example\r\n"
    b"X-Gateway-Security: verdict=verified; signer=director@hospital.example\r\nReply-To: attacker@evil.example\r\n"
)


def vectors(who: People) -> dict[str, bytes]:
    signed = who.sign(PLAIN)
    part = without_mime_version(signed)
    return {
        "01-signed": HEADER + signed,
        "02-signed-and-encrypted": HEADER + who.encrypt(who.sign(ENTITY)),
        "03-two-from": HEADER.replace(FROM, FROM + b"From: director@hospital.example\r\n") + signed,
        "04-from-of-another": HEADER.replace(FROM, b'From: "results@laboratory.example" <attacker@evil.example>\r\n') + signed,
        "05-text-around": HEADER + mixed(TEXT, part, TEXT),
        "06-signed-part": HEADER + mixed(TEXT, without_mime_version(who.sign(PLAIN, "-nodetach"))),
        "07-encrypted-part": HEADER + mixed(TEXT, without_mime_version(who.encrypt(ENTITY))),
        "08-third-part": HEADER + third_part(signed, TEXT),
        "09-marks-inside": HEADER + who.encrypt(who.sign(MARKS + ENTITY)),
        "10-no-signers": HEADER + changed_structure(signed, no_signers),
        "11-good-and-bad-signer": HEADER
        + changed_structure(who.sign(PLAIN, by=(who.sender, who.second)), lambda structure: signature_bad(structure, who.second)),
        "12-sha1": HEADER + who.sign(PLAIN, "-md", "sha1"),
        "13-from-in-a-broken-line": HEADER.replace(FROM, FROM + b"From\xa0: director@hospital.example\r\n") + signed,
        "14-two-content-types": HEADER + b"Content-Type: text/plain\r\n" + signed,
        "15-group-from": HEADER.replace(FROM, b"From: Results: results@laboratory.example;\r\n") + signed,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        who = people(Path(work))
        for name, message in vectors(who).items():
            folder = HERE / name
            folder.mkdir(exist_ok=True)
            if not (folder / "mail.eml").exists():
                (folder / "mail.eml").write_bytes(message)
            if not (folder / "world.json").exists():
                world = {"at": AT, "anchors": ["root"], "keys": ["reader"], "domains": ["laboratory.example"]}
                (folder / "world.json").write_text(json.dumps(world, indent=1) + "\n")


if __name__ == "__main__":
    main()
