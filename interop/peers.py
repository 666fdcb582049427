"""Everybody the gateway is tried with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from interop.bouncycastle import BouncyCastle
from interop.cmstool import MailOf
from interop.gpgsm import Gpgsm
from interop.nss import Nss
from interop.openssl import OpenSsl
from interop.peer import Peer
from interop.people import People
from interop.thunderbird import Thunderbird


@contextmanager
def everybody(folder: Path, people: People) -> Iterator[list[Peer]]:
    """All peers, running, with their files in ``folder``."""
    with ExitStack() as running:
        gpgsm = running.enter_context(closing(Gpgsm(folder, people)))
        bouncy_castle = running.enter_context(closing(BouncyCastle(folder, people)))
        thunderbird = running.enter_context(closing(Thunderbird(folder, people)))
        yield [OpenSsl(people), MailOf(gpgsm), MailOf(Nss(folder, people)), bouncy_castle, thunderbird]
