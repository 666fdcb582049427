"""The openssl command line, by which what we write is opened and verified."""

from __future__ import annotations

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
    """What ``openssl cms -verify`` shows of a multipart/signed message: the signed entity, header included."""
    return openssl("cms", "-verify", "-inform", "SMIME", "-CAfile", root, "-purpose", "smimesign", "-binary", data=message)
