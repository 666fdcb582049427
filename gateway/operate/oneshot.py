"""The flows, run once over one message, with what was given by hand or with a configuration and the agents of a running gateway."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.config.encryption import CIPHERS
from gateway.config.model import Config, Floor, KeyPurpose
from gateway.edge.agentclient import AgentSigner, AgentUnwrapper
from gateway.edge.clock import now
from gateway.edge.keyfile import FileKeys
from gateway.events import Observer
from gateway.flow.evidence import Signed
from gateway.flow.opening import Opened, open_message
from gateway.flow.outgoing import Outgoing
from gateway.flow.protect import SigningKey, protect_message
from gateway.flow.result import Flowed
from gateway.mail.address import Address
from gateway.mail.body import Body
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, Recipient, Role, Stage
from gateway.mail.identifier import RANDOM_BYTES, make_mail_id
from gateway.mail.memory import MemoryBodies
from gateway.operate.given import GivenKey
from gateway.operate.live import parts, remembered
from gateway.outcome import GatewayError, Reason
from gateway.policy import Chosen, best
from gateway.policy.algorithms import Why
from gateway.smime.algorithms import ContentCipher
from gateway.smime.known import Strength
from gateway.smime.message import SignedForm
from gateway.supervise import Kind, agent_sockets
from gateway.trust.given import GivenTrust
from gateway.trust.judgement import Assurance, Purpose, Trusted

HOSTNAME = "localhost"
"""Who marks a message that was opened without a configuration."""


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

    async def judge(certificate: bytes, others: Sequence[bytes], moment: int, /) -> Signed:
        judgement = trust.judge(certificate, others, Purpose.SMIME_SIGNER, moment)
        return Signed(judgement, Assurance.PUBLIC_CA if isinstance(judgement, Trusted) else None)

    return await open_message(
        body,
        MemoryBodies(),
        unwrapper=FileKeys({key.name: key.key for key in keys}),
        keys={key.name: key.certificates[0] for key in keys},
        judge=judge,
        at=at,
        hostname=HOSTNAME,
        strength=strength,
    )


async def open_configured(config: Config, body: Body, organisation: str, at: int, strength: Strength) -> Opened:
    """What ``organisation`` would make of it; by its own legacy allowance, or that of ``strength``.

    Raises :class:`GatewayError`: KEY_UNAVAILABLE without the running agents.
    """
    inbound = config.organisation[organisation].inbound
    unwrapper = AgentUnwrapper(agent_sockets(config, Kind.UNWRAP_AGENT))
    try:
        async with parts(config) as live:

            async def judge(certificate: bytes, others: Sequence[bytes], moment: int, /) -> Signed:
                return await live.evidence.signer(organisation, certificate, others, moment)

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


def choices(readers: Sequence[bytes]) -> tuple[Chosen, ...]:
    """How each of ``readers`` (certificates, DER) is encrypted to in one message. Its cipher is one that all open."""
    each = [best(reader, (), None, Floor()) for reader in readers]
    common = min((chosen.cipher for chosen in each), key=CIPHERS.index, default=ContentCipher.AES256_CBC)
    return tuple(chosen if chosen.cipher is common else replace(chosen, cipher=common, cipher_why=Why.DEFAULT) for chosen in each)


async def protect_given(
    body: Body,
    key: GivenKey | None,
    readers: Sequence[bytes],
    at: int,
    headers: HeaderProtection = NOT_PROTECTED,
    form: SignedForm = SignedForm.CLEAR,
) -> Body:
    """``body`` signed by ``key`` in this ``form`` and encrypted to ``readers`` (certificates, DER) as :func:`choices` says; its
    header as ``headers`` does.

    Raises :class:`GatewayError`.
    """
    chosen = choices(readers)
    signing = None if key is None else (FileKeys({key.name: key.key}), SigningKey(key.name, key.certificates))
    return await protect_message(
        body,
        MemoryBodies(),
        signing=signing,
        readers=[each.reader(reader) for each, reader in zip(chosen, readers, strict=True)],
        at=at,
        random=os.urandom,
        cipher=chosen[0].cipher if chosen else ContentCipher.AES256_CBC,
        headers=headers,
        form=form,
    )


async def protect_configured(config: Config, mail: Outbound, observer: Observer, at: int) -> Flowed:
    """What the outbound flow makes of ``mail``, by policy, directories and agents. Nothing is sent."""
    signer = AgentSigner(agent_sockets(config, Kind.SIGN_AGENT))
    arrival = Arrival(
        make_mail_id(at, os.urandom(RANDOM_BYTES)), at, mail.organisation, Direction.OUTBOUND, Role.INSIDE, "", client=mail.client
    )
    envelope = Envelope(mail.sender, tuple(Recipient(each) for each in mail.recipients))
    try:
        async with parts(config) as live, remembered(config) as known:
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
