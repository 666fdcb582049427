"""The inbound flow: open, judge, mark, and hand on to the mail server behind.

Nothing is dropped here. What could not be opened is held, or delivered marked and as it came, as the organisation says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from gateway.config.model import Config, Inbound, Key, KeyPurpose, Protection, Unopened
from gateway.events import MailOpened, Observer
from gateway.flow.evidence import Signed
from gateway.flow.harvest import CertificateHarvest, Harvest, ShownEvidence, heard, taught
from gateway.flow.kept import Kept
from gateway.flow.opening import Opened, open_message, write_all
from gateway.flow.patience import worth_waiting
from gateway.flow.peel import OURS
from gateway.flow.result import Flowed
from gateway.flow.work import in_thread
from gateway.mail.body import Bodies, Body
from gateway.mail.ending import Deferred, Held, Refused
from gateway.mail.envelope import Body as Transfer
from gateway.mail.envelope import Mail, NextHop, Recipient, Stage
from gateway.mail.identifier import RANDOM_BYTES, make_mail_id
from gateway.mail.message import Header, head_of
from gateway.mail.slice import Slice
from gateway.mail.verdict import UNOPENED, Verdict, has_marks, without_marks
from gateway.outcome import GatewayError, Reason, Refuse
from gateway.policy import Known, Plan, Undecided, plan
from gateway.policy.rules import matches
from gateway.smime.keys import Unwrapper
from gateway.smime.known import Strength
from gateway.trust.along import Along
from gateway.trust.harvested import Harvesting


class SignerEvidence(ShownEvidence, Protocol):
    """Says who vouches for a signer, and for what he shows."""

    async def signer(self, organisation: str, certificate: bytes, along: Along, at: int, /) -> Signed:
        """``certificate`` is DER, ``along`` what came with it; ``at`` in microseconds UTC."""


class Incoming:
    """Makes of an inbound mail what the mailboxes get.

    ``certificates`` gives those of our keys by key name (DER, the key's own first); it, ``config`` and ``evidence`` are asked
    anew for each mail. ``now`` in microseconds UTC; ``random`` gives as many random bytes as asked.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        certificates: Callable[[], Mapping[str, Sequence[bytes]]],
        evidence: Callable[[], SignerEvidence],
        unwrapper: Unwrapper,
        harvest: Harvest,
        keeping: CertificateHarvest,
        bodies: Bodies,
        observer: Observer,
        now: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._certificates = certificates
        self._evidence = evidence
        self._unwrapper = unwrapper
        self._harvest = harvest
        self._keeping = keeping
        self._bodies = bodies
        self._observer = observer
        self._now = now
        self._random = random

    async def run(self, mail: Mail) -> Flowed:
        """Every recipient of ``mail`` is in exactly one part of the answer. Raises :class:`GatewayError` (SPOOL_FULL,
        SPOOL_UNAVAILABLE), with nothing left behind.
        """
        everybody = mail.envelope.recipients
        try:
            header = await in_thread(mail.body, partial(head_of, mail.body))
        except GatewayError as error:
            if error.reason in OURS:
                raise
            return Flowed(held=(Held(everybody, error.reason, error.detail),))
        opening, alone, ends = self._divide(mail, header)
        kept = Kept(self._bodies)
        try:
            for hop, recipients in alone.items():
                ends.append(Flowed((await self._left_alone(mail, header, hop, recipients, kept),)))
            for hop, recipients in opening.items():
                ends.append(await self._opened(mail, hop, tuple(recipients), kept))
        except BaseException:
            kept.discard()
            raise
        return Flowed(
            tuple(output for end in ends for output in end.outputs),
            tuple(held for end in ends for held in end.held),
            tuple(deferred for end in ends for deferred in end.deferred),
            tuple(refused for end in ends for refused in end.refused),
        )

    def _divide(
        self, mail: Mail, header: Header
    ) -> tuple[dict[NextHop, list[Recipient]], dict[NextHop, list[Recipient]], list[Flowed]]:
        """By what policy says: recipients whose mail is opened, and is left alone, by their hop; and how the others end."""
        opening: dict[NextHop, list[Recipient]] = {}
        alone: dict[NextHop, list[Recipient]] = {}
        ends: list[Flowed] = []
        arrival, config = mail.arrival, self._config()
        for recipient in mail.envelope.recipients:
            known = Known(
                arrival.organisation,
                arrival.direction,
                mail.envelope.sender,
                recipient.address,
                header,
                arrival.client,
                arrival.zone,
            )
            match plan(config, known):
                case Plan(protection=Protection.UNPROTECTED, hop=hop):
                    alone.setdefault(hop, []).append(recipient)
                case Plan(hop=hop):
                    opening.setdefault(hop, []).append(recipient)
                case Refuse(reason, detail):
                    ends.append(Flowed(refused=(Refused((recipient,), reason, detail),)))
                case Undecided():
                    detail = "policy cannot decide although the header is known"
                    ends.append(Flowed(held=(Held((recipient,), Reason.POLICY_HOLD, detail),)))
        return opening, alone, ends

    async def _left_alone(self, mail: Mail, header: Header, hop: NextHop, recipients: Sequence[Recipient], bodies: Bodies) -> Mail:
        """As it came. Only marks that came from outside are taken out: whoever reads them must be able to believe them."""
        hostname = self._config().hostname
        body: Body = mail.body
        if has_marks(header.fields, hostname):
            head = b"".join(field.raw for field in without_marks(header.fields, hostname)) + b"\r\n"
            content = Slice(mail.body, header.size, mail.body.size)
            body, _ = await in_thread(mail.body, partial(write_all, bodies, head, content))
        return self._output(mail, hop, recipients, body)

    async def _opened(self, mail: Mail, hop: NextHop, recipients: tuple[Recipient, ...], kept: Bodies) -> Flowed:
        """``outputs``, ``held`` and ``deferred`` for recipients whose mail is to be opened."""
        config, bodies = self._config(), Kept(kept)
        try:
            opened = await self._open(mail, config, recipients, bodies)
        except GatewayError as error:
            if error.reason is Reason.KEY_UNAVAILABLE:
                return Flowed(deferred=(Deferred(recipients, error.reason, error.detail),))
            if error.reason in OURS:
                raise
            return Flowed(held=(Held(recipients, error.reason, error.detail),))
        verdict, inbound = opened.verdict, config.organisation[mail.arrival.organisation].inbound
        released = mail.stage is Stage.RELEASED
        if not released and worth_waiting(verdict, mail.arrival.at, self._now(), inbound, config.retry_for(mail.hop)):
            bodies.discard()
            return Flowed(deferred=(Deferred(recipients, Reason.REVOCATION_UNKNOWN, "whether its signer is revoked"),))
        self._say(mail, opened)
        await self._learn(mail, config, opened)
        # What an administrator released goes on, marked as what it is; a hold asks for a person once, not for ever.
        why = None if released else _kept_back(inbound, verdict)
        if why is not None:
            bodies.discard()
            return Flowed(held=(Held(recipients, *why),))
        addressed = tuple(each for each in recipients if released or _may_open(config, opened.keys, each))
        others = tuple(each for each in recipients if each not in addressed)
        held = (Held(others, Reason.NOT_ADDRESSED, "encrypted to a key that is bound to other mailboxes"),) if others else ()
        if not addressed:
            bodies.discard()
            return Flowed(held=held)
        output = self._output(mail, hop, addressed, opened.body, encrypted=verdict.encrypted, eight_bit=opened.eight_bit)
        return Flowed((output,), held)

    async def _learn(self, mail: Mail, config: Config, opened: Opened) -> None:
        organisation, now = mail.arrival.organisation, self._now()
        said = heard(opened, now)
        if said is not None:
            self._harvest.learn(organisation, said.address, said.capabilities, said.signed_at)
        harvesting = config.organisation[organisation].harvest
        if harvesting is Harvesting.OFF:
            return
        shown = await taught(organisation, opened, self._evidence(), now)
        if shown is not None:
            self._keeping.teach(organisation, mail.arrival.mail, shown, harvesting)

    async def _open(self, mail: Mail, config: Config, recipients: Sequence[Recipient], bodies: Bodies) -> Opened:
        organisation, evidence = mail.arrival.organisation, self._evidence()
        inbound = config.organisation[organisation].inbound

        async def judge(certificate: bytes, along: Along, at: int, /) -> Signed:
            return await evidence.signer(organisation, certificate, along, at)

        return await open_message(
            mail.body,
            bodies,
            unwrapper=self._unwrapper,
            keys=self._keys(config, organisation, recipients),
            judge=judge,
            at=self._now(),
            hostname=config.hostname,
            keep_signature=inbound.signature == "keep",
            strength=Strength.LEGACY if inbound.legacy == "read" else Strength.MODERN,
        )

    def _keys(self, config: Config, organisation: str, recipients: Sequence[Recipient]) -> dict[str, bytes]:
        """Our decryption keys, best first: those that may open this mail for all of its recipients, those still in use."""
        certificates = self._certificates()
        found = [
            (name, key)
            for name, key in config.key.items()
            if key.purpose is KeyPurpose.DECRYPT and key.organisation == organisation and certificates.get(name)
        ]
        found.sort(key=lambda each: (not all(_bound(each[1], one) for one in recipients), each[1].retired))
        return {name: certificates[name][0] for name, _ in found}

    def _output(
        self,
        mail: Mail,
        hop: NextHop,
        recipients: Sequence[Recipient],
        body: Body,
        *,
        encrypted: bool = False,
        eight_bit: bool = False,
    ) -> Mail:
        envelope = mail.envelope.to(tuple(recipients))
        if eight_bit:
            envelope = replace(envelope, body=Transfer.EIGHT_BIT)
        if encrypted:  # whoever cannot put it into the mailbox reports to its sender, outside: the header, and not all in clear
            envelope = replace(envelope, ret="HDRS")
        identifier = make_mail_id(self._now(), self._random(RANDOM_BYTES))
        return replace(
            mail,
            arrival=replace(mail.arrival, mail=identifier, parent=mail.arrival.mail),
            envelope=envelope,
            body=body,
            stage=Stage.DELIVERY,
            hop=hop,
            protected=mail.protected or encrypted,
        )

    def _say(self, mail: Mail, opened: Opened) -> None:
        verdict = opened.verdict
        signer = verdict.by
        self._observer.see(
            MailOpened(
                org=mail.arrival.organisation,
                mail=mail.arrival.mail,
                verdict=verdict.judged,
                encrypted=verdict.encrypted,
                assurance=verdict.assurance or "",
                signer=signer.subject if signer is not None else "",
                reasons=tuple(str(reason) for reason in verdict.reasons),
            )
        )


def _kept_back(inbound: Inbound, verdict: Verdict) -> tuple[Reason, str] | None:
    """Why a mail of this verdict is held, and the detail; None where it goes on."""
    if verdict.judged in UNOPENED and _unopened(inbound, verdict) is Unopened.HOLD:
        return next(reversed(verdict.reasons)), f"verdict {verdict.judged}"
    if verdict.encrypted_part and inbound.encrypted_part is Unopened.HOLD:
        return Reason.POLICY_HOLD, "one part among others is encrypted, and was left closed"
    return None


def _unopened(inbound: Inbound, verdict: Verdict) -> Unopened:
    """What becomes of a mail that did not open. One to no key of ours may be to its reader's own: that is for its reader to open,
    if it is not to a key we had once. OpenPGP never is.
    """
    if not {Reason.NO_KEY, Reason.END_TO_END}.intersection(verdict.reasons):
        return inbound.unopened
    return inbound.end_to_end or (Unopened.DELIVER if Reason.END_TO_END in verdict.reasons else inbound.unopened)


def _bound(key: Key, recipient: Recipient) -> bool:
    """Whether ``key`` may open mail for ``recipient``: it is the organisation's, or one of its mailboxes."""
    return not key.addresses or any(matches(pattern, recipient.address) for pattern in key.addresses)


def _may_open(config: Config, keys: Sequence[str], recipient: Recipient) -> bool:
    """Whether every key that opened the mail may open mail for ``recipient``."""
    return all(_bound(config.key[name], recipient) for name in keys if name in config.key)
