"""Finds certificates and what is needed to believe them: look up, judge, fetch what the judge lacks, judge again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.events import FetchFailed, Observer, RevocationStale
from gateway.flow.circles import Circle, Circles
from gateway.flow.lookups import Lookups
from gateway.mail.address import Address
from gateway.outcome import Reason
from gateway.trust.along import Along, stapled
from gateway.trust.answer import Answer, Failed
from gateway.trust.certificate import Binding, CertificateError, CertificateFacts, binds, facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Assurance, Distrusted, Need, Needs, Purpose, Trusted
from gateway.trust.path import judge
from gateway.trust.places import MAX_URLS
from gateway.trust.smimea import Association
from gateway.trust.sources import AtHand, DirectoryError, Found, Source, WordUnknown
from gateway.trust.zone import match_peer

BUDGET_SECONDS: Final = 15.0
"""How long one question may wait for what it needs in all; what has not come by then counts as failed."""
MAX_CANDIDATES: Final = 16
_ROUNDS: Final = 4 * MAX_URLS  # each settles one place of every certificate: of issuers, CRLs, deltas, responders


@dataclass(frozen=True, slots=True)
class Usable:
    """A certificate (DER) to encrypt to. ``source`` is the directory it came from; ``marks`` do not forbid its use."""

    certificate: bytes
    source: str
    assurance: Assurance
    marks: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why there is none. ``detail`` is for the administrator and names what was found."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """What is known about a signer, whatever it signed. ``assurance`` and ``zone`` say who vouches for it, None if nobody does.

    Whether the signer is the From is asked of :func:`gateway.trust.certificate.binds` with ``domains``, the domains an
    organisation certificate may speak for here.
    """

    judgement: Trusted | Distrusted
    assurance: Assurance | None = None
    zone: str | None = None
    domains: frozenset[str] = frozenset()


class Evidence:
    """Answers for recipients, signers and peers. One for each generation of the configuration; what was fetched outlives it."""

    def __init__(self, circles: Circles, source: Source, observer: Observer, now: Callable[[], int]) -> None:
        """``now`` in microseconds UTC."""
        self._circles = circles
        self._source = source
        self._observer = observer
        self._now = now
        self._lookups = Lookups(observer, now)

    async def recipient(self, organisation: str, zone: str | None, address: Address, at: int) -> Usable | Unusable:
        """The certificate to encrypt to for ``address``: from the zone's directories, or from the organisation's outside zones.

        Directories are asked in order; in each, the mailbox's own certificate comes before its domain's, the newest first,
        and what is expired, revoked or otherwise unfit is passed over.
        """
        return await self.reader(organisation, zone, address, _every, at)

    async def reader(
        self, organisation: str, zone: str | None, address: Address, named: Callable[[bytes], bool], at: int
    ) -> Usable | Unusable:
        """As :meth:`recipient`, among those certificates (DER) alone that ``named`` picks."""
        circle = self._circles.organisations.get(organisation) if zone is None else self._circles.zones.get(zone)
        if circle is None:
            place = (
                f"organisation {organisation} has no anchors for people outside its zones" if zone is None else f"no zone {zone}"
            )
            return Unusable(Reason.NO_CERTIFICATE, place)
        unavailable: list[str] = []
        unfit: list[Unusable] = []
        empty: list[str] = []
        associations: tuple[Association, ...] = ()
        for directory in circle.directories:
            try:
                found = await self._lookups.find(organisation, directory, address)
            except DirectoryError as error:
                unavailable.append(error.detail)
                if isinstance(error, WordUnknown):
                    break
                continue
            empty.append(directory.name + "".join(f", passed over {each}" for each in found.passed_over))
            associations += found.associations
            picked = replace(
                found, certificates=tuple(filter(named, found.certificates[:MAX_CANDIDATES])), associations=associations
            )
            usable = await self._choose(picked, directory.name, circle, address, at, unfit)
            if usable is not None:
                return usable
        if unavailable:
            # A directory that does not answer may hold the very certificate that is missing: later, not never.
            return Unusable(Reason.DIRECTORY_UNAVAILABLE, "; ".join(unavailable + [each.detail for each in unfit]))
        if unfit:
            return next((each for each in unfit if each.reason not in _OTHER_PURPOSE), unfit[0])
        return Unusable(Reason.NO_CERTIFICATE, f"nothing in {', '.join(empty) or 'no directory is configured'}")

    async def signer(self, organisation: str, certificate: bytes, along: Along, at: int) -> Signed:
        """Who vouches for a signer: the zone whose peers its names belong to, else the organisation's anchors for the outside.

        Once a certificate leads to a zone's anchors that zone's answer stands, good or bad.
        """
        try:
            named = facts(certificate).domains
        except CertificateError as error:
            return Signed(Distrusted(error.reason, error.detail))
        candidates = [circle for circle in self._circles.zones.values() if circle.domains & named]
        outside = self._circles.organisations.get(organisation)
        if outside is not None:
            candidates.append(outside)
        answer: Trusted | Distrusted = Distrusted(Reason.CHAIN, "no zone binds its domains, and there are no other anchors")
        for circle in candidates:
            answer = await self._judge(certificate, along, circle, Purpose.SMIME_SIGNER, at)
            if isinstance(answer, Trusted):
                return Signed(answer, circle.assurance, circle.zone, circle.domains)
            if answer.reason is not Reason.CHAIN:
                break
        return Signed(answer)

    async def peer(self, zone: str, chain: Sequence[bytes], purpose: Purpose, at: int) -> Trusted | Distrusted:
        """Whether the certificate a peer showed (DER, leaf first) leads to the zone's anchors, and fits the side of TLS that the
        peer is on. Not yet *which* peer it is.
        """
        circle = self._circles.zones.get(zone)
        if circle is None:
            return Distrusted(Reason.PEER_UNKNOWN, f"no zone {zone}")
        if not chain:
            return Distrusted(Reason.PEER_UNKNOWN, "no certificate was shown")
        return await self._judge(chain[0], Along(tuple(chain[1:])), circle, purpose, at)

    def peer_name(self, zone: str, certificate: bytes) -> str | Distrusted:
        """Which peer of ``zone`` a certificate is, by its names alone: see :func:`gateway.trust.zone.match_peer`."""
        circle = self._circles.zones.get(zone)
        return Distrusted(Reason.PEER_UNKNOWN, f"no zone {zone}") if circle is None else match_peer(circle.peers, certificate)

    async def _choose(
        self, found: Found, source: str, circle: Circle, address: Address, at: int, unfit: list[Unusable]
    ) -> Usable | None:
        for candidate in _in_order(found.certificates, address, circle, unfit):
            answer = await self._judge(candidate, Along(found.others), circle, Purpose.SMIME_RECIPIENT, at)
            if isinstance(answer, Distrusted):
                unfit.append(Unusable(answer.reason, f"{source}: {answer.detail}"))
            elif found.associations and not any(each.names(answer.path) for each in found.associations):
                subject = facts(candidate).subject
                unfit.append(Unusable(Reason.CHAIN, f"{source}: {subject}: the domain's SMIMEA records name others"))
            else:
                return Usable(candidate, source, circle.assurance, answer.marks)
        return None

    async def _judge(self, certificate: bytes, along: Along, circle: Circle, purpose: Purpose, at: int) -> Trusted | Distrusted:
        fetched: dict[Need, Answer] = {}
        deadline = asyncio.get_running_loop().time() + BUDGET_SECONDS
        rules = circle.rules(purpose)

        def known(need: Need) -> Answer | None:
            return fetched[need] if need in fetched else self._source.known(need, self._now())

        await self._fetch([need for need in circle.crls if known(need) is None], fetched, deadline)
        given = tuple(crl for crl in map(known, circle.crls) if isinstance(crl, Crl))
        at_hand = AtHand(along.certificates, given, stapled(along.revocations), known, along.signed_at)
        for _ in range(_ROUNDS):
            answer = judge(certificate, at_hand, at, rules)
            if not isinstance(answer, Needs):
                if isinstance(answer, Trusted) and Reason.REVOCATION_STALE in answer.marks:
                    self._observer.see(RevocationStale(kind=purpose, zone=circle.zone or "", subject=facts(certificate).subject))
                return answer
            await self._fetch(answer.needs, fetched, deadline)
        return Distrusted(Reason.REVOCATION_UNKNOWN, "too many places to ask")

    async def _fetch(self, needs: Sequence[Need], fetched: dict[Need, Answer], deadline: float) -> None:
        """All at once, into ``fetched``; every one of ``needs`` has an answer there when this returns."""

        async def one(need: Need) -> None:
            try:
                async with asyncio.timeout_at(deadline):
                    fetched[need] = await self._source.fetch(need, self._now())
            except TimeoutError:
                detail = f"no answer within {BUDGET_SECONDS:g} s"
                fetched[need] = Failed(f"{need.source}: {detail}")
                self._observer.see(FetchFailed(kind=need.kind, result="late", source=need.source, detail=detail))

        if not needs:
            return
        async with asyncio.TaskGroup() as group:
            for need in needs:
                group.create_task(one(need))


_OTHER_PURPOSE: Final = frozenset({Reason.KEY_USAGE, Reason.EKU, Reason.ADDRESS_MISMATCH, Reason.MALFORMED})


def _every(_: bytes) -> bool:
    return True


def _in_order(certificates: Sequence[bytes], address: Address, circle: Circle, unfit: list[Unusable]) -> list[bytes]:
    """Those that speak for ``address``: its own before its domain's, then the newest first. The others go to ``unfit``."""
    bound: list[tuple[bool, int, bytes]] = []
    for certificate in certificates:
        try:
            found: CertificateFacts = facts(certificate)
        except CertificateError as error:
            unfit.append(Unusable(error.reason, error.detail))
            continue
        binding = binds(found, address, circle.domains)
        if binding is None:
            unfit.append(Unusable(Reason.ADDRESS_MISMATCH, f"{found.subject}: does not name the address"))
        else:
            bound.append((binding is Binding.ORGANISATION, -found.not_before, certificate))
    return [certificate for _, _, certificate in sorted(bound)]
