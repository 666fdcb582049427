"""Finds certificates and what is needed to believe them: look up, judge, fetch what the judge lacks, judge again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from gateway.events import Observer
from gateway.flow.choice import Looked, Unusable, Usable, concluded, counted, settled
from gateway.flow.circles import Circle, Circles
from gateway.flow.inquiry import Extent, Inquiry, Question
from gateway.flow.judging import Judging
from gateway.flow.lookups import Lookups
from gateway.flow.sharedkeys import SharedKeys
from gateway.mail.address import Address
from gateway.outcome import Reason
from gateway.trust.along import Along, as_choice
from gateway.trust.certificate import CertificateError, CertificateFacts, facts
from gateway.trust.judgement import Assurance, Distrusted, Purpose, Trusted
from gateway.trust.kept import KEEPS_NOTHING, Keeping, KeptAs
from gateway.trust.ladder import AfterInvalid, Rung, Way, place
from gateway.trust.sources import DirectoryError, Source
from gateway.trust.zone import match_peer

MAX_PINS_ASKED: Final = 4  # addresses of one signer


@dataclass(frozen=True, slots=True)
class Signed:
    """What is known about a signer, whatever it signed. ``assurance`` and ``zone`` say who vouches for it, None if nobody does.

    Whether the signer is the From is asked of :func:`gateway.trust.certificate.binds` with ``domains``, the domains an
    organisation certificate may speak for here. Where ``pinned`` is not empty the signer is believed for these mailboxes alone
    (in the form addresses are compared in).
    """

    judgement: Trusted | Distrusted
    assurance: Assurance | None = None
    zone: str | None = None
    domains: frozenset[str] = frozenset()
    pinned: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Inquired:
    """All that can be said of a recipient: what each source said, how many of them were needed, and the ``answer``."""

    looked: tuple[Looked, ...]
    needed: int
    answer: Usable | Unusable


class Evidence:
    """Answers for recipients, signers and peers. One for each generation of the configuration; what was fetched outlives it."""

    def __init__(
        self, circles: Circles, source: Source, observer: Observer, now: Callable[[], int], keeping: Keeping = KEEPS_NOTHING
    ) -> None:
        """``now`` in microseconds UTC."""
        self._circles = circles
        self._keeping = keeping
        self._judging = Judging(source, observer, now)
        self._lookups = Lookups(observer, now)
        self._inquiry = Inquiry(self._judging, self._lookups, keeping)
        self._shared = SharedKeys(observer)

    def close(self) -> None:
        """Nothing more is looked up but what mails wait for."""
        self._lookups.close()

    async def recipient(
        self, organisation: str, zone: str | None, address: Address, at: int, least: Rung | None = None
    ) -> Usable | Unusable:
        """The certificate to encrypt to for ``address``, by the rules of its zone, or of the organisation outside of zones.

        Sources are asked in order, and what is expired, revoked or otherwise unfit is passed over. ``least`` is the lowest rung
        that is taken, None where the zone or organisation says.
        """
        circle = self._circle(organisation, zone, address)
        if isinstance(circle, Unusable):
            return circle
        question = Question(organisation, circle, address, at, _every)
        return await self._first(question, least or circle.least, circle.after_invalid)

    async def reader(
        self,
        organisation: str,
        zone: str | None,
        address: Address,
        named: Callable[[bytes], bool],
        at: int,
        least: Rung | None = None,
    ) -> Usable | Unusable:
        """As :meth:`recipient`, among those certificates (DER) alone that ``named`` picks: somebody else has chosen, and no source
        is asked to choose for him.
        """
        circle = self._circle(organisation, zone, address)
        if isinstance(circle, Unusable):
            return circle
        question = Question(organisation, circle, address, at, named)
        return await self._first(question, least or circle.least, AfterInvalid.NEXT)

    async def _first(self, question: Question, least: Rung, after_invalid: AfterInvalid) -> Usable | Unusable:
        looked: list[Looked] = []
        answer: Usable | Unusable | None = None
        async with aclosing(self._inquiry.each(question)) as sources:
            async for each in sources:
                looked.append(each)
                answer = settled(looked, least, after_invalid)
                if answer is not None:
                    break
        if answer is None:
            answer = concluded(looked, least)
        if isinstance(answer, Usable):
            self._shared.see(question.organisation, answer.certificate)
        return answer

    async def inquire(self, organisation: str, zone: str | None, address: Address, at: int) -> Inquired:
        """As :meth:`recipient`, for people: every source is asked, and everything in it is looked at."""
        circle = self._circle(organisation, zone, address)
        if isinstance(circle, Unusable):
            return Inquired((), 0, circle)
        looked: list[Looked] = []
        answered: tuple[int, Usable | Unusable] | None = None
        async with aclosing(self._inquiry.each(Question(organisation, circle, address, at, _every, Extent.ALL))) as sources:
            async for each in sources:
                looked.append(each)
                answer = settled(looked, circle.least, circle.after_invalid) if answered is None else None
                if answer is not None:
                    answered = len(looked), answer
        needed, answer = answered or (len(looked), concluded(looked, circle.least))
        return Inquired(counted(looked, needed), needed, answer)

    def _circle(self, organisation: str, zone: str | None, address: Address) -> Circle | Unusable:
        if zone is not None:
            return self._circles.zones.get(zone) or Unusable(Reason.NO_CERTIFICATE, f"no zone {zone}")
        circle = self._circles.organisations.get(organisation)
        return Unusable(Reason.NO_CERTIFICATE, f"no organisation {organisation}") if circle is None else circle.around(address)

    async def signer(self, organisation: str, certificate: bytes, along: Along, at: int) -> Signed:
        """Who vouches for a signer: the zone whose peers its names belong to, else the organisation's anchors for the outside.

        Once a certificate leads to a zone's anchors that zone's answer stands, good or bad. One that leads nowhere may be pinned.
        """
        try:
            found = facts(certificate)
        except CertificateError as error:
            return Signed(Distrusted(error.reason, error.detail))
        candidates = [circle for circle in self._circles.zones.values() if circle.domains & found.domains]
        outside = self._circles.organisations.get(organisation)
        if outside is not None:
            candidates.append(outside)
        answer = Distrusted(Reason.CHAIN, "no zone binds its domains, and there are no other anchors")
        for circle in candidates:
            judged = await self._judging.judge(certificate, along, circle, circle.rules(Purpose.SMIME_SIGNER), at)
            if isinstance(judged, Trusted):
                self._shared.see(organisation, certificate)
                return Signed(judged, circle.assurance, circle.zone, circle.domains)
            answer = judged
            if answer.reason is not Reason.CHAIN:
                break
        if place(answer, certificate, Way.PINNED, Purpose.SMIME_SIGNER, at) is not None:
            pinned = await self._pinned(organisation, certificate, found)
            if pinned:
                marks = (answer.reason,) if answer.reason is Reason.REVOCATION_UNKNOWN else ()
                return Signed(Trusted((certificate,), marks), Assurance.PINNED, None, frozenset(), pinned)
        return Signed(answer)

    async def _pinned(self, organisation: str, certificate: bytes, found: CertificateFacts) -> frozenset[str]:
        """For which of the addresses it names a certificate is pinned; for none where that cannot be read now."""
        pinned: set[str] = set()
        for address in found.emails[:MAX_PINS_ASKED]:
            try:
                kept = await self._keeping.kept(organisation, address)
            except DirectoryError:
                continue
            if any(each.kept_as is KeptAs.PINNED and each.certificate == certificate for each in kept):
                pinned.add(address.key)
        return frozenset(pinned)

    async def shown(
        self, organisation: str, zone: str | None, certificate: bytes, along: Along, at: int, /
    ) -> Trusted | Distrusted:
        """Whether ``certificate`` (DER) can be encrypted to, by the anchors of ``zone``, or of ``organisation`` outside of all.

        ``along`` came with it; ``at`` in microseconds UTC. Whom it names is not asked.
        """
        circle = self._circles.organisations.get(organisation) if zone is None else self._circles.zones.get(zone)
        if circle is None:
            return Distrusted(Reason.CHAIN, "nobody vouches for it")
        return await self._judging.judge(certificate, along, circle, circle.rules(Purpose.SMIME_RECIPIENT), at)

    async def peer(
        self, zone: str, chain: Sequence[bytes], purpose: Purpose, at: int, stapled: bytes = b""
    ) -> Trusted | Distrusted:
        """Whether the certificate a peer showed (DER, leaf first) leads to the zone's anchors, and fits the side of TLS that the
        peer is on. Not yet *which* peer it is. ``stapled`` is the OCSP answer it sent along (DER, not read yet), if any.
        """
        circle = self._circles.zones.get(zone)
        if circle is None:
            return Distrusted(Reason.PEER_UNKNOWN, f"no zone {zone}")
        if not chain:
            return Distrusted(Reason.PEER_UNKNOWN, "no certificate was shown")
        along = Along(tuple(chain[1:]), (as_choice(stapled),) if stapled else ())
        return await self._judging.judge(chain[0], along, circle, circle.rules(purpose), at)

    def peer_name(self, zone: str, certificate: bytes) -> str | Distrusted:
        """Which peer of ``zone`` a certificate is, by its names alone: see :func:`gateway.trust.zone.match_peer`."""
        circle = self._circles.zones.get(zone)
        return Distrusted(Reason.PEER_UNKNOWN, f"no zone {zone}") if circle is None else match_peer(circle.peers, certificate)


def _every(_: bytes) -> bool:
    return True
