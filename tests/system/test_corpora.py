"""Mails that others collected because readers choke on them, relayed by a running gateway under a rule that leaves them alone."""

from __future__ import annotations

import os
import re
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from demo.site import Site
from tests.system.lab import HOSPITAL, SENDER, Lab, until
from tests.system.sink import Sink

CORPORA: Final = Path(os.environ.get("CONFORMANCE_DIR", Path(__file__).parents[3] / "shared" / "conformance")) / "smtp" / "mail"
FOLDERS: Final = {
    "comm-central-jsmime": ("", ".eml"),
    "james-mime4j": (".msg",),
    "ruby-mail/emails": ("", ".eml"),
}
PIECE: Final = 777  # octets of a chunk; cuts lines and line ends anywhere

RELAY: Final = """
[route.outside]
host = "127.0.0.1"
port = {port}

[[rule]]
name = "relay-unprotected"
protect = "unprotected"
"""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CORPORA.is_dir(), reason="the set smtp/mail is not here (CONFORMANCE_DIR)"),
]


@dataclass(frozen=True)
class Sample:
    """A mail of a corpus as it is sent: files with LF alone, the form of a disk, get the line ends of the wire."""

    path: Path

    @property
    def wire(self) -> bytes:
        data = self.path.read_bytes()
        if b"\r\n" not in data:
            data = data.replace(b"\n", b"\r\n")
        return data if data.endswith(b"\r\n") else data + b"\r\n"

    @property
    def faults(self) -> frozenset[str]:
        """What it must be refused for, if for anything."""
        lines = self.wire.split(b"\r\n")
        found = {
            "NUL in the message": b"\0" in self.wire,
            "Bare LF in the message": any(b"\n" in line for line in lines),
            "Bare CR in the message": any(b"\r" in line for line in lines),
            "Line over 998 octets": any(len(line) > 998 for line in lines),
        }
        return frozenset(name for name, there in found.items() if there)


def samples() -> list[Sample]:
    paths = [
        path
        for folder, kinds in FOLDERS.items()
        for path in sorted((CORPORA / folder).rglob("*"))
        if path.is_file() and path.suffix in kinds
    ]
    return [Sample(path) for path in paths]


@contextmanager
def relay(folder: Path, port: int) -> Iterator[Site]:
    """A gateway that gives every mail to ``port``."""
    with Lab(folder) as lab:
        site = lab.site("hospital", HOSPITAL)
        text = site.configuration.read_text()
        named = text.replace('mail_server = "mailserver"\n', 'mail_server = "mailserver"\noutbound = "outside"\n')
        assert named != text
        site.configuration.write_text(named)
        site.add(RELAY.format(port=port))
        site.start()
        yield site


Way = Callable[[smtplib.SMTP, bytes], tuple[int, bytes]]


def by_data(client: smtplib.SMTP, message: bytes) -> tuple[int, bytes]:
    assert client.docmd("DATA")[0] == 354
    dot = b"." if message.startswith(b".") else b""
    client.send(dot + message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return client.getreply()


def by_chunks(client: smtplib.SMTP, message: bytes) -> tuple[int, bytes]:
    pieces = [message[start : start + PIECE] for start in range(0, len(message), PIECE)]
    for piece in pieces:
        client.send(b"BDAT %d\r\n" % len(piece) + piece)
        code, text = client.getreply()
        if code != 250:
            return code, text
    return client.docmd("BDAT 0 LAST")


@pytest.mark.parametrize("way", [by_data, by_chunks])
def test_every_mail_arrives_byte_for_byte_or_is_refused_by_name(tmp_path: Path, way: Way) -> None:
    every = samples()
    assert len(every) > 150
    numbers = count()
    sent: dict[str, Sample] = {}
    with Sink(tmp_path) as sink, relay(tmp_path, sink.port) as site:
        with smtplib.SMTP("127.0.0.1", site.inside, "mail.hospital.example", timeout=30) as client:
            client.ehlo()
            for sample in every:
                recipient = f"m{next(numbers)}@outside.example"
                assert client.mail(SENDER, ["BODY=8BITMIME"])[0] == 250
                assert client.rcpt(recipient)[0] == 250
                code, text = way(client, sample.wire)
                if sample.faults:
                    assert (code, text[6:].decode() in sample.faults) == (554, True), (sample.path, sample.faults, text)
                    assert client.noop()[0] == 250
                else:
                    assert code == 250, (sample.path, text)
                    sent[recipient] = sample
        until(lambda: len(sink.mails) >= len(sent), f"{len(sent)} mails at the sink")
        assert len(sent) > 100
        assert len(every) > len(sent)
        assert {mail.recipients[0] for mail in sink.mails} == set(sent)
        for mail in sink.mails:
            sample = sent[mail.recipients[0]]
            assert mail.content.endswith(sample.wire), sample.path
            above = mail.content.removesuffix(sample.wire).decode()
            assert re.fullmatch(r"Received: from mail\.hospital\.example .*(?:\r\n\t.*)*\r\n", above), (sample.path, above)
