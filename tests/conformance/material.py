"""Where the third-party material lies, and how its structures and messages are read. Nothing of it is in this repository."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from gateway.edge.keyfile import FileKey, FileKeys, PrivateKey
from gateway.flow.opening import Opened
from gateway.mail.memory import MemoryBody
from gateway.mail.wire import wire_form
from gateway.operate.given import GivenKey, read_trust
from gateway.operate.oneshot import open_given
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader, Layer
from gateway.trust.given import GivenTrust
from gateway.trust.judgement import Revocation

MATERIAL: Final = Path(os.environ.get("CONFORMANCE_DIR", Path(__file__).parents[3] / "shared" / "conformance"))


def needs(name: str) -> pytest.MarkDecorator:
    """Skips, and says so, where this set is not on the machine."""
    return pytest.mark.skipif(not (MATERIAL / name).is_dir(), reason=f"the set {name} is not here (CONFORMANCE_DIR)")


def names(name: str, pattern: str) -> list[str]:
    """The files of a set, for parameters; empty where it is not here."""
    return sorted(path.name for path in (MATERIAL / name).glob(pattern) if path.is_file())


Keys = Mapping[str, tuple[bytes, PrivateKey]]
"""Our keys: the certificate (DER) and the private key, by name."""


def read(structure: bytes, keys: Keys, strength: Strength = Strength.MODERN, piece: int = 4096) -> tuple[bytes, Layer]:
    """The content of one CMS structure and what the layer is, read in pieces of this size."""
    reader = CmsReader({name: certificate for name, (certificate, _) in keys.items()}, strength)
    held = FileKeys({name: FileKey(key) for name, (_, key) in keys.items()})
    out = []
    for start in range(0, len(structure), piece):
        out.append(reader.update(structure[start : start + piece]))
        if reader.wants is not None:
            reader.give(asyncio.run(held.unwrap(reader.wants.key, reader.wants.wrapped)))
            out.append(reader.update(b""))
    return b"".join(out), reader.finalize()


def opened(data: bytes, keys: tuple[GivenKey, ...], trust: GivenTrust, at: int, strength: Strength = Strength.MODERN) -> Opened:
    """What ``message open`` makes of a message."""
    return asyncio.run(open_given(MemoryBody.of(wire_form(data)), keys, trust, at, strength))


def believing(*anchors: Path) -> GivenTrust:
    """Belief in these authorities; whether something is revoked is not known, and denies nothing."""
    return read_trust(anchors, (), Revocation.SOFT)


def shown(result: Opened) -> bytes:
    """The message as the mailbox gets it."""
    return b"".join(result.body.chunks())


Outcome = tuple[str, object]


def outcome(call: Callable[[], object], errors: type[Exception]) -> Outcome:
    """A value, or the error of ours; what else comes out is the test's."""
    try:
        return ("value", call())
    except errors as error:
        return ("error", str(error))
