"""A folder of certificates, found by the addresses and domains they name. A change counts within a second."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.edge.anchorfile import read_certificates
from gateway.mail.address import Address
from gateway.trust.certificate import CertificateError, facts, organisation_domains
from gateway.trust.ladder import Way
from gateway.trust.sources import DirectoryError, Found

MAX_FILES: Final = 20_000
LOOK_SECONDS: Final = 1.0  # how soon a change is seen; to look at every file for every mail would cost more than the mail
SUFFIXES: Final = frozenset({".pem", ".crt", ".cer", ".der"})

_Stamp = tuple[int, int, int]  # mtime in ns, size, inode


@dataclass(slots=True)
class _Index:
    by_address: dict[str, list[bytes]] = field(default_factory=dict)
    by_domain: dict[str, list[bytes]] = field(default_factory=dict)
    authorities: list[bytes] = field(default_factory=list)


class Folder:
    """A :class:`gateway.trust.sources.Directory`. Files end in ``.pem .crt .cer .der``; others, and broken ones, are passed over.
    One that cannot be read now, or that was good a moment ago and may be half written, is not: whom no other names, it may.

    Authorities in the folder are handed out as intermediates; they make no anchor.
    """

    remember_seconds: float = 0.0

    def __init__(self, name: str, path: Path, look_seconds: float = LOOK_SECONDS) -> None:
        """``name`` is the directory's in the configuration; the folder is looked at again after ``look_seconds``."""
        self.name = name
        self._path = path
        self._stamps: dict[str, _Stamp] = {}
        self._files: dict[str, tuple[bytes, ...]] = {}
        self._closed: dict[str, str] = {}
        self._index = _Index()
        self._lock = asyncio.Lock()
        self._look_seconds = look_seconds
        self._look_at = 0.0

    async def find(self, address: Address) -> Found:
        """Certificates that name ``address``, then those of its domain.

        Raises :class:`DirectoryError` without the folder, and where there are none but a file could not be read.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now >= self._look_at:
                await asyncio.to_thread(self._refresh)
                self._look_at = now + self._look_seconds
            own = self._index.by_address.get(address.key, ())
            domain = self._index.by_domain.get(address.domain, ())
            if self._closed and not own and not domain:
                name, why = next(iter(self._closed.items()))
                raise DirectoryError(f"{self._path / name}: {why}")
            return Found((*own, *domain), tuple(self._index.authorities), way=Way.GUARDED)

    def _refresh(self) -> None:
        stamps = self._scan()
        if stamps == self._stamps and not self._closed:
            return
        closed, self._closed = self._closed, {}
        for name, stamp in stamps.items():
            if self._stamps.get(name) != stamp or name in closed:  # a mode that was changed shows in no stamp
                self._files[name] = self._read(name, good=name in closed or bool(self._files.get(name)))
        self._files = {name: self._files[name] for name in sorted(stamps)}
        self._stamps = stamps
        self._index = _index(self._files)

    def _scan(self) -> dict[str, _Stamp]:
        found: dict[str, _Stamp] = {}
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
                        status = entry.stat()
                        found[entry.name] = (status.st_mtime_ns, status.st_size, status.st_ino)
                        if len(found) > MAX_FILES:
                            raise DirectoryError(f"{self._path}: more than {MAX_FILES} files")
        except OSError as error:
            raise DirectoryError(f"{self._path}: {error.strerror}") from None
        return found

    def _read(self, name: str, *, good: bool) -> tuple[bytes, ...]:
        """The certificates in a file that was ``good`` when it was looked at before, or was not."""
        try:
            return read_certificates(self._path / name)
        except OSError as error:
            self._closed[name] = error.strerror or type(error).__name__
        except CertificateError:
            if good:
                self._closed[name] = "no certificate any more, or not yet written to its end"
        return ()


def _index(files: dict[str, tuple[bytes, ...]]) -> _Index:
    index = _Index()
    for certificate in dict.fromkeys(der for certificates in files.values() for der in certificates):
        named = facts(certificate)
        if named.is_ca:
            index.authorities.append(certificate)
            continue
        for key in dict.fromkeys(email.key for email in named.emails):
            index.by_address.setdefault(key, []).append(certificate)
        for domain in organisation_domains(named):
            index.by_domain.setdefault(domain, []).append(certificate)
    return index
