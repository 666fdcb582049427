"""The flows, run once over one message, with what was given by hand or with a configuration and the agents of a running gateway."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config.model import Config, KeyPurpose
from gateway.edge.agentclient import AgentSigner, AgentUnwrapper
from gateway.edge.clock import now
from gateway.edge.keyfile import FileKeys
from gateway.events import Observer
from gateway.flow.evidence import Signed
from gateway.flow.opening import Opened, open_message
from gateway.flow.outgoing import Outgoing
from gateway.flow.protect import SigningKey
from gateway.flow.result import Flowed
from gateway.library.body import open_body, protect_body
from gateway.mail.address import Address
from gateway.mail.body import Body
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, Recipient, Role, Stage
from gateway.mail.identifier import RANDOM_BYTES, make_mail_id
from gateway.mail.memory import MemoryBodies
from gateway.operate.given import GivenKey
from gateway.operate.live import parts
from gateway.outcome import GatewayError, Reason
from gateway.smime.known import Strength
from gateway.smime.message import SignedForm
from gateway.supervise import Kind, agent_sockets
from gateway.trust.along import Along
from gateway.trust.given import GivenTrust


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message on its way out: its body, its envelope, and the client that would bring it."""

    body: Body
    sender: Address
    recipients: tuple[Address, ...]
    organisation: str
    client: str


async def open_given(body: Body, keys: Sequence[GivenKey], trust: GivenTrust, at: int, strength: Strength) -> Opened:
    """What ``keys`` open and ``trust`` believes. Raises :class:`GatewayError` for a message that cannot be read."""
    unwrapper = FileKeys({key.name: key.key for key in keys})
    return await open_body(body, unwrapper, {key.name: key.certificates[0] for key in keys}, trust, at=at, strength=strength)


async def open_configured(config: Config, body: Body, organisation: str, at: int, strength: Strength) -> Opened:
    """What ``organisation`` would make of it; by its own legacy allowance, or that of ``strength``.

    Raises :class:`GatewayError`: KEY_UNAVAILABLE without the running agents.
    """
    inbound = config.organisation[organisation].inbound
    unwrapper = AgentUnwrapper(agent_sockets(config, Kind.UNWRAP_AGENT))
    try:
        async with parts(config) as (live, _):

            async def judge(certificate: bytes, along: Along, moment: int, /) -> Signed:
                return await live.evidence.signer(organisation, certificate, along, moment)

            mine = [
                name for name, key in config.key.items() if key.purpose is KeyPurpose.DECRYPT and key.organisation == organisation
            ]
            return await open_message(
                body,
                MemoryBodies(),
                unwrapper=unwrapper,
                keys={name: live.certificates[name][0] for name in mine},
                judge=judge,
                at=at,
                hostname=config.hostname,
                keep_signature=inbound.signature == "keep",
                strength=Strength.LEGACY if inbound.legacy == "read" else strength,
            )
    finally:
        await unwrapper.close()


async def protect_given(
    body: Body,
    key: GivenKey | None,
    readers: Sequence[bytes],
    at: int,
    headers: HeaderProtection = NOT_PROTECTED,
    form: SignedForm = SignedForm.CLEAR,
) -> Body:
    """``body`` signed by ``key`` and encrypted to ``readers`` (certificates, DER), as :func:`protect_body` does."""
    signing = None if key is None else (FileKeys({key.name: key.key}), SigningKey(key.name, key.certificates))
    return await protect_body(body, signing, readers, at=at, headers=headers, form=form)


async def protect_configured(config: Config, mail: Outbound, observer: Observer, at: int) -> Flowed:
    """What the outbound flow makes of ``mail``, by policy, directories and agents. Nothing is sent."""
    signer = AgentSigner(agent_sockets(config, Kind.SIGN_AGENT))
    arrival = Arrival(
        make_mail_id(at, os.urandom(RANDOM_BYTES)), at, mail.organisation, Direction.OUTBOUND, Role.INSIDE, "", client=mail.client
    )
    envelope = Envelope(mail.sender, tuple(Recipient(each) for each in mail.recipients))
    try:
        async with parts(config) as (live, known):
            outgoing = Outgoing(
                config=lambda: config,
                certificates=lambda: live.certificates,
                evidence=lambda: live.evidence,
                known=known,
                archives=lambda: live.archives,
                signer=signer,
                bodies=MemoryBodies(),
                observer=observer,
                now=now,
                random=os.urandom,
            )
            return await outgoing.run(Mail(arrival, envelope, mail.body, Stage.FLOW))
    finally:
        await signer.close()


def bringer(config: Config, sender: Address) -> tuple[str, str]:
    """The client that may send for ``sender``, and its organisation. Raises :class:`GatewayError` (SENDER_NOT_ALLOWED)."""
    for name, client in config.client.items():
        if sender.domain in client.may_send_for:
            return name, client.organisation
    raise GatewayError(Reason.SENDER_NOT_ALLOWED, f"{sender.domain} is in may_send_for of no client")
