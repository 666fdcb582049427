"""Our S/MIME engine as a library, in a process of its own that is told how many messages to do. The mirror of ``libcrypto.c``.

``python -m bench.engineside open|open-der|protect INPUT FOLDER`` answers each number on standard input with CPU seconds and the
bytes the last message came to. With ``files`` behind it, it does one message whose bodies lie in files, and answers with
the growth of its peak memory in bytes over that of a message of 5 KB, which ``small.*`` beside INPUT is.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.load import peak_rss
from gateway.edge.clock import now
from gateway.edge.keyfile import FileKey
from gateway.flow.peel import Entity, Peeler, SignedLayer
from gateway.flow.protect import SigningKey, protect_message
from gateway.mail.body import Bodies, Body
from gateway.mail.memory import MemoryBodies, MemoryBody
from gateway.mail.message import head_of
from gateway.smime.cms import SignedData
from gateway.smime.keys import Mechanism, WrappedKey, signed_input
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.recipients import Reader
from gateway.smime.verify import Checked, Signature, check, needed

SIGNER: Final = "signer"
READER: Final = "reader"
_PIECE: Final = 64 * 1024


class Task(StrEnum):
    """What is done to a message."""

    OPEN = "open"
    PROTECT = "protect"
    OPEN_DER = "open-der"


class SoftwareKeys:
    """A Signer and an Unwrapper over two key files; operations run where they are asked for, as they do in the C program."""

    def __init__(self, folder: Path) -> None:
        self._keys = {name: FileKey.load(folder / f"{name}.key") for name in (SIGNER, READER)}
        self.certificates = {name: _certificate(folder / f"{name}.pem") for name in (SIGNER, READER)}

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        return self._keys[key].sign(signed_input(to_be_signed, mechanism), mechanism)

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        return self._keys[key].unwrap(wrapped)


def _certificate(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@dataclass(frozen=True)
class FileBody:
    """A body in a file that has no name any more."""

    file: BinaryIO
    size: int

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, self.size, _PIECE):
            yield os.pread(self.file.fileno(), _PIECE, start)


class FileWriter:
    """A body being written to a file."""

    def __init__(self) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the body keeps it
        self._size = 0

    def write(self, data: bytes, /) -> None:
        self._file.write(data)
        self._size += len(data)

    def close(self) -> FileBody:
        self._file.flush()
        return FileBody(self._file, self._size)

    def discard(self) -> None:
        self._file.close()


class FileBodies:
    """Makes bodies in files."""

    def create(self) -> FileWriter:
        return FileWriter()


async def open_mail(body: Body, bodies: Bodies, keys: SoftwareKeys) -> int:
    """Decrypted, and its signature verified; how long the signed content is."""
    mine = {READER: keys.certificates[READER]}
    peeled = await Peeler(bodies, keys, mine, now()).peel(Entity(body, head_of(body)))
    layer = peeled.layers[-1]
    if not isinstance(layer, SignedLayer):
        raise TypeError("not signed")
    _must_be_good(layer.checked)
    return peeled.entities[-1].body.size


async def open_der(body: Body, bodies: Bodies, keys: SoftwareKeys) -> int:
    """The same for bare structures: SignedData with its content inside EnvelopedData."""
    inside = await _read(body, bodies, keys)
    writer, reader, digest, first = bodies.create(), CmsReader({}), hashlib.sha256(), b""
    for chunk in inside.chunks():
        content = reader.update(chunk)
        first = first or content[:1]
        digest.update(content)
        writer.write(content)
    signed = reader.finalize()
    if not isinstance(signed, SignedData):
        raise TypeError("not signed")
    digests = {each: digest.digest() for each in needed(signed, Strength.MODERN)}
    _must_be_good(check(signed, digests, first, now(), Strength.MODERN))
    return writer.close().size


async def _read(body: Body, bodies: Bodies, keys: SoftwareKeys) -> Body:
    writer, reader = bodies.create(), CmsReader({READER: keys.certificates[READER]})
    for chunk in body.chunks():
        writer.write(reader.update(chunk))
        if reader.wants:
            reader.give(await keys.unwrap(reader.wants.key, reader.wants.wrapped))
            writer.write(reader.update(b""))
    reader.finalize()
    return writer.close()


def _must_be_good(checked: tuple[Checked, ...]) -> None:
    if [each.signature for each in checked] != [Signature.GOOD]:
        raise ValueError("the signature is not good")


async def protect_mail(body: Body, bodies: Bodies, keys: SoftwareKeys) -> int:
    """Signed and encrypted; how long the message is."""
    signing = keys, SigningKey(SIGNER, (keys.certificates[SIGNER],))
    readers = [Reader(keys.certificates[READER])]
    return (await protect_message(body, bodies, signing=signing, readers=readers, at=now(), random=os.urandom)).size


Work = Callable[[Body, Bodies, SoftwareKeys], Coroutine[None, None, int]]
WORK: Final[Mapping[Task, Work]] = {Task.OPEN: open_mail, Task.PROTECT: protect_mail, Task.OPEN_DER: open_der}


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _serve(work: Work, body: Body, keys: SoftwareKeys) -> None:
    for line in sys.stdin:
        length = 0
        before = cpu_seconds()
        for _ in range(int(line)):
            length = await work(body, MemoryBodies(), keys)
        print(f"{cpu_seconds() - before:.6f} {length}", flush=True)


async def _grow(work: Work, path: Path, keys: SoftwareKeys) -> None:
    with path.with_stem("small").open("rb") as small, path.open("rb") as large:
        peaks = []
        for file in (small, large):
            await work(FileBody(file, os.fstat(file.fileno()).st_size), FileBodies(), keys)
            peaks.append(peak_rss(os.getpid()))
    print(peaks[1] - peaks[0])


def main() -> None:
    """Do what the arguments say."""
    what, given, folder, *more = sys.argv[1:]
    keys = SoftwareKeys(Path(folder))
    if more == ["files"]:
        asyncio.run(_grow(WORK[Task(what)], Path(given), keys))
    else:
        asyncio.run(_serve(WORK[Task(what)], MemoryBody.of(Path(given).read_bytes()), keys))


if __name__ == "__main__":
    main()
