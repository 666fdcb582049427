"""Reads the test vectors of NIST and RSA Laboratories that the package ``cryptography-vectors`` brings, as they were published."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cryptography_vectors
from cryptography.hazmat.primitives.asymmetric import rsa

VECTORS: Final = Path(cryptography_vectors.__file__).parent

Record = dict[str, str]


def records(name: str, last: str) -> Iterator[Record]:
    """The vectors of a file of NIST's. Lines are ``name = value``, blocks end with a blank line. A block without ``last`` is for
    all that follow it, and so is what stands in brackets: each ``name = value`` by its name, all under ``section`` otherwise.
    """
    common: Record = {}
    block: Record = {}
    for line in [*(VECTORS / name).read_text().splitlines(), ""]:
        if line.startswith("#"):
            continue
        if line.startswith("["):
            parts = line.strip("[]").split(",")
            common |= _fields(*parts)
            if not all("=" in part for part in parts):
                common["section"] = line.strip("[]")
        elif line.strip():
            fields = _fields(line) or {line.strip(): ""}
            if last in block and fields.keys() & block.keys():  # one blank line is missing
                yield common | block
                block = {}
            block |= fields
        elif last in block:
            yield common | block
            block = {}
        else:
            common |= block
            block = {}


def _fields(*lines: str) -> Record:
    return {key.strip(): value.strip() for key, equals, value in (line.partition("=") for line in lines) if equals}


def numbers(record: Record, *names: str) -> Iterator[int]:
    """Fields in hexadecimal."""
    return (int(record[name], 16) for name in names)


def transported(name: str) -> Iterator[tuple[rsa.RSAPrivateKey, bytes, bytes]]:
    """Key, message and ciphertext of a file of RSA Laboratories': headings behind ``#``, under each a value in hexadecimal."""
    heading, found = "", dict[str, str]()
    key: rsa.RSAPrivateKey | None = None
    for line in [*(VECTORS / name).read_text().splitlines(), "#"]:
        if line.startswith("#"):
            if heading == "Coefficient":
                key = _key(found)
            elif heading == "Encryption":
                assert key is not None
                yield key, bytes.fromhex(found["Message"]), bytes.fromhex(found["Encryption"])
            heading = line.strip("# :")
            found[heading] = ""
        elif re.fullmatch(r"[0-9a-fA-F ]+", line):
            found[heading] += line


def _key(found: Record) -> rsa.RSAPrivateKey:
    d, p, q, dmp1, dmq1, iqmp, e, n = (
        int(found[name].replace(" ", ""), 16)
        for name in (
            "Exponent",
            "Prime 1",
            "Prime 2",
            "Prime exponent 1",
            "Prime exponent 2",
            "Coefficient",
            "Public exponent",
            "Modulus",
        )
    )
    return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(e, n)).private_key(
        unsafe_skip_rsa_key_validation=True
    )
