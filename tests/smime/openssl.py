"""The openssl command line, by which what we write is opened and verified."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path


def openssl(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Its standard output. Fails the test with its own words where it does not end well."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout


def decrypt(structure: bytes, certificate: Path, key: Path, form: str = "DER") -> bytes:
    """What ``openssl cms -decrypt`` makes of it."""
    return openssl("cms", "-decrypt", "-inform", form, "-recip", certificate, "-inkey", key, "-binary", data=structure)


def verify_message(message: bytes, root: Path) -> bytes:
    """The signed entity of a multipart/signed message, header included, once openssl has verified it twice: as mail, for which
    it takes the MIME apart by itself, and byte for byte.
    """
    openssl("cms", "-verify", "-inform", "SMIME", "-CAfile", root, "-purpose", "smimesign", data=message)
    found = re.search(rb'boundary="([^"]+)"', message)
    assert found is not None
    _, entity, signature, _ = (b"\r\n" + message).split(b"\r\n--" + found[1])
    entity = entity.removeprefix(b"\r\n")
    (root.parent / "entity").write_bytes(entity)
    structure = base64.b64decode(signature.split(b"\r\n\r\n", 1)[1])
    given = ("-inform", "DER", "-content", root.parent / "entity", "-binary", "-CAfile", root)
    assert openssl("cms", "-verify", *given, data=structure) == entity
    return entity
