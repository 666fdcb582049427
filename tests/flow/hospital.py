"""The outbound flow with a software key and certificates at hand: everything real but the agent, the spool and the directories."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.config.model import Config
from gateway.flow.besides import Besides
from gateway.flow.choice import Unusable, Usable
from gateway.flow.outgoing import Outgoing
from gateway.flow.result import Flowed
from gateway.mail.address import Address, parse_address
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, Recipient, Role, Stage
from gateway.mail.envelope import Body as Transfer
from gateway.mail.identifier import make_mail_id
from gateway.outcome import Reason
from gateway.smime.capabilities import Capabilities
from gateway.trust.judgement import Assurance
from gateway.trust.ladder import Rung
from tests.doubles import Events, MemoryBodies, MemoryBody, SoftwareSigner
from tests.pki import NOW, Ca, Issued, microseconds
from tests.policy.world import WORLD, world

AT = microseconds(NOW)
SECRET = "Résultat : œdème pulmonaire".encode()
MESSAGE = (
    b"Received: from ward.hospital.example\r\n"
    b"From: Cardiology <cardiology@hospital.example>\r\n"
    b"To: results@laboratory.example, Second <second@laboratory.example>\r\n"
    b"Subject: discharge letter\r\n"
    b"Message-ID: <1@hospital.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n" + SECRET + b"\r\n.\r\n..\r\n"
)


@dataclass
class Certificates:
    """Evidence that was found before; an address without an entry has no certificate. ``older`` are good too, and not the best."""

    known: dict[str, Issued | Unusable] = field(default_factory=dict)
    older: dict[str, Issued | Unusable] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    least: list[Rung | None] = field(default_factory=list)

    async def recipient(
        self, _organisation: str, _zone: str | None, address: Address, _at: int, least: Rung | None, /
    ) -> Usable | Unusable:
        self.least.append(least)
        self.asked.append(str(address))
        found = self.known.get(str(address), Unusable(Reason.NO_CERTIFICATE, "nothing anywhere"))
        return found if isinstance(found, Unusable) else Usable(found.der, "folder", Assurance.ZONE)

    async def reader(
        self,
        _organisation: str,
        _zone: str | None,
        address: Address,
        named: Callable[[bytes], bool],
        _at: int,
        _least: Rung | None,
        /,
    ) -> Usable | Unusable:
        for found in (self.known.get(str(address)), self.older.get(str(address))):
            if isinstance(found, Issued) and named(found.der):
                return Usable(found.der, "folder", Assurance.ZONE)
        return Unusable(Reason.NO_CERTIFICATE, "nothing anywhere")


@dataclass
class Heard:
    """What programs said of themselves, by address."""

    said: dict[str, Capabilities] = field(default_factory=dict)

    async def capabilities(self, _organisation: str, address: Address, /) -> Capabilities | None:
        return self.said.get(str(address))


@dataclass
class Hospital:
    """The hospital of ``tests.policy.world`` with its signing key ``hospital`` and that of one mailbox, ``billing``."""

    root: Ca
    rules: list[dict[str, Any]] = field(default_factory=list)
    evidence: Certificates = field(default_factory=Certificates)
    known: Heard = field(default_factory=Heard)
    organisation: dict[str, Any] = field(default_factory=dict)
    key_sections: dict[str, Any] = field(default_factory=dict)
    archives: dict[str, tuple[Besides, ...]] = field(default_factory=dict)
    at: int = AT
    bodies: MemoryBodies = field(default_factory=MemoryBodies)
    events: Events = field(default_factory=Events)

    def __post_init__(self) -> None:
        self.keys = {
            "hospital": self.root.organisation_signer("hospital.example", "rsa2048"),
            "billing": self.root.signer("billing@hospital.example"),
        }
        self.signer = SoftwareSigner({name: issued.key for name, issued in self.keys.items()})
        self.certificates: dict[str, tuple[bytes, ...]] = {name: (issued.der,) for name, issued in self.keys.items()}

    @property
    def config(self) -> Config:
        hospital = WORLD["organisation"]["hospital"] | self.organisation
        return world(*self.rules, organisation=WORLD["organisation"] | {"hospital": hospital}, key=WORLD["key"] | self.key_sections)

    async def send(self, message: bytes = MESSAGE, *to: str, sender: str | None = "cardiology@hospital.example") -> Flowed:
        return await self.flow().run(mail_of(message, *(to or ("results@laboratory.example",)), sender=sender))

    def flow(self) -> Outgoing:
        return Outgoing(
            config=lambda: self.config,
            certificates=lambda: self.certificates,
            evidence=lambda: self.evidence,
            known=self.known,
            archives=lambda: self.archives,
            signer=self.signer,
            bodies=self.bodies,
            observer=self.events,
            now=lambda: self.at,
            random=os.urandom,
        )


def mail_of(message: bytes, *to: str, sender: str | None = "cardiology@hospital.example", smtputf8: bool = False) -> Mail:
    people = tuple(Recipient(parse_address(text)) for text in to)
    arrival = Arrival(
        make_mail_id(AT, bytes(10)), AT, "hospital", Direction.OUTBOUND, Role.INSIDE, "inside", "10.0.0.9", client="mail"
    )
    envelope = Envelope(parse_address(sender) if sender else None, people, Transfer.EIGHT_BIT, smtputf8=smtputf8)
    return Mail(arrival, envelope, MemoryBody(message), Stage.FLOW)


def bytes_of(mail: Mail) -> bytes:
    return b"".join(mail.body.chunks())


def names(recipients: tuple[Recipient, ...]) -> list[str]:
    return [str(recipient.address) for recipient in recipients]
