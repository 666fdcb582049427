"""Certificates of partners, in the forms in which they are handed over: folders, PEM, DER, certs-only CMS, LDIF, CSV.

Everything that is there is said: what is offered, and what cannot be read and why. Nothing is believed here.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.edge.anchorfile import read_certificates
from gateway.edge.folder import SUFFIXES
from gateway.mail.address import Address, AddressError, parse_address
from gateway.operate.ldif import LdifEntry, read_ldif
from gateway.outcome import GatewayError, Reason
from gateway.smime.bundle import read_bundle

MAX_FILES: Final = 20_000
"""Files of one folder."""
MAX_FILE: Final = 64 * 1024 * 1024
"""Bytes of an LDIF or CSV file; one with certificates alone is bounded as in a directory."""
MAX_OFFERED: Final = 100_000
"""Certificates of one import."""
MAX_BUNDLE: Final = 4 * 1024 * 1024
"""Bytes of a certs-only CMS message."""

BUNDLES: Final = frozenset({".p7b", ".p7c"})
LDIF: Final = frozenset({".ldif", ".ldf"})
_PEM: Final = re.compile(rb"-----BEGIN (PKCS7|PKCS #7 SIGNED DATA|CMS)-----([^-]*)-----END \1-----")  # RFC 7468 8, 9


@dataclass(frozen=True, slots=True)
class Offered:
    """A certificate (DER), or what was taken for one. ``source`` is where it stands; ``addresses`` whom it is said to be of, None
    where that is to be read in it.
    """

    source: str
    certificate: bytes
    addresses: tuple[Address, ...] | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What is offered and cannot be read."""

    source: str
    reason: Reason
    detail: str


Partner = Offered | PassedOver


def read_partners(path: Path) -> Iterator[Partner]:
    """Everything in ``path``: a folder, or a file by the ending of its name. Raises ``OSError`` where it is not there."""
    if path.is_dir():
        yield from _folder(path)
    elif path.suffix.lower() in LDIF:
        yield from _ldif(path)
    elif path.suffix.lower() == ".csv":
        yield from _csv(path)
    else:
        yield from _file(path)


def _folder(path: Path) -> Iterator[Partner]:
    names = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    for each in names[:MAX_FILES]:
        if each.suffix.lower() in SUFFIXES | BUNDLES and each.is_file():
            yield from _file(each)
        else:
            yield PassedOver(str(each), Reason.UNSUPPORTED, "no file of certificates by its name")
    if len(names) > MAX_FILES:
        yield PassedOver(str(path), Reason.LIMIT, f"more than {MAX_FILES} files; the others were not looked at")


def _file(path: Path, addresses: tuple[Address, ...] | None = None, source: str = "") -> Iterator[Partner]:
    """One file of certificates."""
    source = source or str(path)
    try:
        found = from_pkcs7(_read(path, MAX_BUNDLE)) if path.suffix.lower() in BUNDLES else read_certificates(path)
    except GatewayError as error:
        yield PassedOver(source, error.reason, error.detail)
    except OSError as error:
        yield PassedOver(source, Reason.MALFORMED, error.strerror or type(error).__name__)
    else:
        for number, certificate in enumerate(found, 1):
            yield Offered(source if len(found) == 1 else f"{source} ({number})", certificate, addresses)


def from_pkcs7(data: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) of a certs-only message, DER, BER or PEM. Raises :class:`GatewayError` (MALFORMED, LIMIT)."""
    text = _PEM.search(data)
    if text is None:
        return read_bundle(data)
    try:
        return read_bundle(base64.b64decode(text[2]))
    except binascii.Error as error:
        raise GatewayError(Reason.MALFORMED, "base64 that is none") from error


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise GatewayError(Reason.LIMIT, f"larger than {most} bytes")
    return data


def _ldif(path: Path) -> Iterator[Partner]:
    try:
        data = _read(path, MAX_FILE)
    except GatewayError as error:
        yield PassedOver(str(path), error.reason, error.detail)
        return
    for entry in read_ldif(data):
        yield from _entry(f"{path}:{entry.line}", entry)


def _entry(source: str, entry: LdifEntry) -> Iterator[Partner]:
    yield from (PassedOver(source, Reason.MALFORMED, fault) for fault in entry.faults)
    addresses, wrong = _addresses(entry.addresses)
    if wrong and not addresses:
        yield PassedOver(source, Reason.MALFORMED, "its mail is no address")
        return
    values = list(entry.certificates)
    for bundle in entry.bundles:
        try:
            values += from_pkcs7(bundle if len(bundle) <= MAX_BUNDLE else b"")
        except GatewayError as error:
            yield PassedOver(source, error.reason, f"userSMIMECertificate: {error.detail}")
    # An entry without an address may still hold a certificate that names one
    for value in dict.fromkeys(values):
        yield Offered(source, value, addresses or None)


def _addresses(texts: list[str]) -> tuple[tuple[Address, ...], bool]:
    """The addresses among ``texts``, and whether something there was none."""
    found: dict[Address, None] = {}
    wrong = False
    for text in texts:
        try:
            found[parse_address(text)] = None
        except AddressError:
            wrong = True
    return tuple(found), wrong


def _csv(path: Path) -> Iterator[Partner]:
    """Rows of an address and a file beside the CSV, or below; separated by comma or semicolon, with a title or without."""
    try:
        text = _read(path, MAX_FILE).decode("utf-8-sig")
    except GatewayError as error:
        yield PassedOver(str(path), error.reason, error.detail)
        return
    except UnicodeDecodeError:
        yield PassedOver(str(path), Reason.MALFORMED, "not in UTF-8")
        return
    separator = re.search("[,;]", text)  # an address has neither
    rows = csv.reader(io.StringIO(text, newline=""), delimiter="," if separator is None else separator[0])
    try:
        for row in rows:
            if row and not (rows.line_num == 1 and "@" not in row[0]):
                yield from _row(path, f"{path}:{rows.line_num}", row)
    except csv.Error as error:
        yield PassedOver(f"{path}:{rows.line_num}", Reason.MALFORMED, f"{error}; what follows was not looked at")


def _row(path: Path, source: str, row: list[str]) -> Iterator[Partner]:
    if len(row) < 2:
        yield PassedOver(source, Reason.MALFORMED, "not an address and a file")
        return
    try:
        address = parse_address(row[0].strip())
        file = _beside(path, row[1].strip())
    except AddressError:
        yield PassedOver(source, Reason.MALFORMED, "its first cell is no address")
    except ValueError as error:
        yield PassedOver(source, Reason.MALFORMED, str(error))
    else:
        yield from _file(file, (address,), source)


def _beside(path: Path, name: str) -> Path:
    """The file ``name`` in the folder of ``path`` or below: a list opens nothing else here. Raises ``ValueError``."""
    try:
        folder = path.parent.resolve()
        file = (folder / name).resolve()
        inside = file.is_relative_to(folder) and file.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
        inside = False
    if not name or not inside:
        raise ValueError("its second cell is no file in the folder of the list")
    return file
