"""The outbound flow: for each recipient what policy asks and what certificates allow, then one protected copy for each group.

No failure here ends in clear text: a copy leaves unprotected only where a rule says ``unprotected``, and an event says so too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gateway.config.model import Config
from gateway.events import MailProtected, MailUnprotected, Observer
from gateway.flow.already import already_protected
from gateway.flow.besides import Besides, besides
from gateway.flow.copies import Copy, Decision, Make, copies_of
from gateway.flow.decide import Ending, KnownCapabilities, decide
from gateway.flow.kept import Kept
from gateway.flow.protect import SigningKey, Source, encrypt, sign, source_of, write
from gateway.flow.readers import ReaderEvidence
from gateway.flow.result import Flowed
from gateway.flow.work import in_thread
from gateway.mail.body import Bodies, Body
from gateway.mail.confidentiality import HeaderProtection
from gateway.mail.ending import Deferred, Held, Refused
from gateway.mail.entity import Sized
from gateway.mail.envelope import Body as Transfer
from gateway.mail.envelope import Mail, Recipient, Stage
from gateway.mail.identifier import RANDOM_BYTES, make_mail_id
from gateway.mail.message import Header, head_of
from gateway.outcome import Defer, GatewayError, Hold, Reason, Refuse
from gateway.policy import answer_key
from gateway.smime.keys import Signer
from gateway.smime.message import SignedForm
from gateway.trust.certificate import facts
from gateway.trust.judgement import Purpose
from gateway.trust.suitability import unusable

# Not about this mail but about our disk: the whole mail is tried again.
_SPOOL: Final = frozenset({Reason.SPOOL_FULL, Reason.SPOOL_UNAVAILABLE})
_Signing = tuple[str, bool, HeaderProtection, SignedForm]
"""What signatures of one mail differ in: the key, whether nothing is around them, what of the header is in them, their form."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What was asked for one mail, at its beginning: a reload meanwhile is for the next."""

    config: Config
    certificates: Mapping[str, Sequence[bytes]]
    archive: Sequence[Besides]


class Outgoing:
    """Makes of an outbound mail the copies that leave.

    ``certificates`` gives those of our keys by key name (DER, the key's own first), ``archives`` who else reads the mail of each
    organisation; they, ``config`` and ``evidence`` are asked anew for each mail. ``now`` in microseconds UTC; ``random`` gives as
    many random bytes as asked, fit for keys.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        certificates: Callable[[], Mapping[str, Sequence[bytes]]],
        evidence: Callable[[], ReaderEvidence],
        known: KnownCapabilities,
        archives: Callable[[], Mapping[str, Sequence[Besides]]],
        signer: Signer,
        bodies: Bodies,
        observer: Observer,
        now: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._certificates = certificates
        self._evidence = evidence
        self._known = known
        self._archives = archives
        self._signer = signer
        self._bodies = bodies
        self._observer = observer
        self._now = now
        self._random = random

    async def run(self, mail: Mail) -> Flowed:
        """Every recipient of ``mail`` is in exactly one part of the answer. Raises :class:`GatewayError` (SPOOL_FULL,
        SPOOL_UNAVAILABLE), with nothing left behind.
        """
        try:
            header = head_of(mail.body)
        except GatewayError as error:
            return Flowed(refused=(Refused(mail.envelope.recipients, error.reason, error.detail),))
        already = await in_thread(mail.body, partial(already_protected, header, mail.body))
        decisions: list[Decision] = []
        endings: list[tuple[Recipient, Ending]] = []
        given = _Given(self._config(), self._certificates(), self._archives().get(mail.arrival.organisation, ()))
        answers = await decide(given.config, self._evidence(), self._known, mail, header, already, self._now())
        for recipient, answer in answers:
            if isinstance(answer, Decision):
                decisions.append(answer)
            else:
                endings.append((recipient, answer))
        outputs, failed = await self._make_all(mail, header, given, copies_of(decisions, header))
        return _flowed(outputs, [*endings, *failed])

    async def _make_all(
        self, mail: Mail, header: Header, given: _Given, copies: Sequence[Copy]
    ) -> tuple[tuple[Mail, ...], list[tuple[Recipient, Ending]]]:
        """The output of each copy, and how the recipients of those end that could not be made."""
        kept = Kept(self._bodies)
        sources: dict[tuple[bool, HeaderProtection], Source] = {}
        signed: dict[_Signing, Sized] = {}
        made: list[tuple[Copy, Mail]] = []
        failed: list[tuple[Recipient, Ending]] = []
        try:
            for planned in copies:
                try:
                    copy = self._with_besides(mail, header, given, planned)
                    if copy.make.changes:
                        source = await self._source(mail, header, copy.make, sources)
                        body = await self._make(mail, header, given, source, copy, signed, kept)
                        output = self._output(mail, copy, body, source.outer)
                    else:
                        output = self._output(mail, copy, mail.body)
                except GatewayError as error:
                    if error.reason in _SPOOL:
                        raise
                    if error.reason is Reason.OWN_WORK_WRONG:
                        # Who made one wrong copy is not believed about the others either.
                        kept.discard()
                        wrong = Hold(error.reason, error.detail)
                        return (), [(recipient, wrong) for each in copies for recipient in each.recipients]
                    failed += [(recipient, _ending_of(error)) for recipient in planned.recipients]
                else:
                    made.append((copy, output))
        except BaseException:
            kept.discard()
            raise
        for copy, output in made:
            self._say(mail, output, copy)
        return tuple(output for _, output in made), failed

    def _with_besides(self, mail: Mail, header: Header, given: _Given, copy: Copy) -> Copy:
        """``copy`` and, where it is encrypted, who can read it besides; a hidden recipient is alone but for them."""
        if copy.make.cipher is None:
            return copy
        organisation, now = mail.arrival.organisation, self._now()
        others = besides(given.config, organisation, header, given.archive, given.certificates, now)
        return replace(copy, besides=others) if others else copy

    async def _source(self, mail: Mail, header: Header, make: Make, sources: dict[tuple[bool, HeaderProtection], Source]) -> Source:
        """What a copy is made of. ``sources`` remembers them: copies that show the same outside share one."""
        which = (make.cipher is not None, make.headers)
        if which not in sources:
            utf8 = mail.envelope.smtputf8
            encrypted = make.cipher is not None
            sources[which] = await source_of(mail.body, header, make.headers, self._random, encrypted=encrypted, utf8=utf8)
        return sources[which]

    async def _make(
        self,
        mail: Mail,
        header: Header,
        given: _Given,
        source: Source,
        copy: Copy,
        signed: dict[_Signing, Sized],
        bodies: Bodies,
    ) -> Body:
        """The body of one copy. ``signed`` remembers signatures: one for each key and source of a copy."""
        entity: Sized = source.entity
        make, in_clear = copy.make, copy.make.cipher is None
        if make.sign_key is not None:
            which = (make.sign_key, in_clear, make.headers, make.signed_form)
            if which not in signed:
                key = _signing_key(given, make.sign_key, self._answer(mail, header, given))
                now, form = self._now(), make.signed_form
                signed[which] = await sign(source, self._signer, key, now, self._random, in_clear=in_clear, form=form)
            entity = signed[which]
        if make.cipher is not None:
            return await encrypt(source, entity, copy.readers, bodies, self._random, make.cipher)
        return await write(source, entity, bodies)

    def _answer(self, mail: Mail, header: Header, given: _Given) -> bytes | None:
        """The certificate that answers are to be encrypted to, where there is one that may be used."""
        name = answer_key(given.config, mail.arrival.organisation, header)
        certificate = next(iter(given.certificates.get(name, ())), None) if name is not None else None
        if certificate is None or unusable(facts(certificate), Purpose.SMIME_RECIPIENT, self._now()) is not None:
            return None
        return certificate

    def _output(self, mail: Mail, copy: Copy, body: Body, outer: bytes = b"") -> Mail:
        """``outer`` are the fields that stay outside of what was made."""
        envelope = mail.envelope.to(copy.recipients)
        if copy.make.changes and outer.isascii() and not mail.envelope.smtputf8:
            envelope = replace(envelope, body=Transfer.SEVEN_BIT)
        identifier = make_mail_id(self._now(), self._random(RANDOM_BYTES))
        return Mail(
            arrival=replace(mail.arrival, mail=identifier, parent=mail.arrival.mail),
            envelope=envelope,
            body=body,
            stage=Stage.DELIVERY,
            hop=copy.hop,
            protected=mail.protected or copy.make.protected,
            priority=mail.priority,
        )

    def _say(self, mail: Mail, output: Mail, copy: Copy) -> None:
        """One event for each rule that asked for the copy."""
        rules: dict[tuple[str, bool, Reason | None, str], list[Decision]] = {}
        for decision in copy.decisions:
            rules.setdefault((decision.plan.rule, decision.kept, decision.reason, decision.would), []).append(decision)
        org, identifier, new = mail.arrival.organisation, mail.arrival.mail, output.arrival.mail
        for (rule, kept, reason, would), members in rules.items():
            people = tuple(str(member.recipient.address) for member in members)
            if not kept and not copy.make.changes:
                self._observer.see(
                    MailUnprotected(org=org, mail=identifier, copy=new, rule=rule, recipients=people, reason=reason, would=would)
                )
                continue
            self._observer.see(
                MailProtected(
                    org=org,
                    mail=identifier,
                    copy=new,
                    rule=rule,
                    protection="kept" if kept else members[0].plan.protection,
                    recipients=people,
                    sign_key=copy.make.sign_key or "",
                    content_cipher=copy.make.cipher or "",
                    besides=tuple(each.name for each in copy.besides),
                    algorithms=tuple(member.chosen.told for member in members if member.chosen is not None),
                    certificates=tuple(member.found.told for member in members if member.found is not None),
                    headers="" if kept else copy.make.headers.policy,
                )
            )


def _signing_key(given: _Given, name: str, answer: bytes | None) -> SigningKey:
    return SigningKey(name, tuple(given.certificates.get(name, ())), answer, given.config.key[name].mechanism)


def _ending_of(error: GatewayError) -> Ending:
    """What becomes of recipients whose copy could not be made: later where the key cannot be used now, else never."""
    kind = Defer if error.reason is Reason.KEY_UNAVAILABLE else Refuse
    return kind(error.reason, error.detail)


def _flowed(outputs: tuple[Mail, ...], endings: Sequence[tuple[Recipient, Ending]]) -> Flowed:
    """Endings that are alike, together."""
    if not endings:
        return Flowed(outputs)
    alike: dict[Ending, list[Recipient]] = {}
    for recipient, ending in endings:
        alike.setdefault(ending, []).append(recipient)
    groups = [(ending, tuple(recipients)) for ending, recipients in alike.items()]
    return Flowed(
        outputs,
        held=tuple(Held(people, end.reason, end.detail) for end, people in groups if isinstance(end, Hold)),
        deferred=tuple(Deferred(people, end.reason, end.detail) for end, people in groups if isinstance(end, Defer)),
        refused=tuple(Refused(people, end.reason, end.detail) for end, people in groups if isinstance(end, Refuse)),
    )
