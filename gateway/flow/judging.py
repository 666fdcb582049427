"""Whether a certificate is believed: judge, fetch what the judge lacks, judge again, within a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from gateway.events import FetchFailed, Observer, RevocationStale
from gateway.flow.circles import Circle
from gateway.outcome import Reason
from gateway.trust.along import Along, stapled
from gateway.trust.answer import Answer, Failed
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Need, NeedKind, Needs, Trusted
from gateway.trust.path import judge
from gateway.trust.places import MAX_URLS
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand, Source

BUDGET_SECONDS: Final = 15.0
"""How long one question may wait for what it needs in all; what has not come by then counts as failed."""
_ROUNDS: Final = 4 * MAX_URLS  # each settles one place of every certificate: of issuers, CRLs, deltas, responders


class Judging:
    """Believes nobody by itself: see :func:`gateway.trust.path.judge`."""

    def __init__(self, source: Source, observer: Observer, now: Callable[[], int]) -> None:
        """``now`` in microseconds UTC."""
        self._source = source
        self._observer = observer
        self._now = now

    async def judge(self, certificate: bytes, along: Along, circle: Circle, rules: Rules, at: int) -> Trusted | Distrusted:
        """Whether ``certificate`` (DER) is believed under ``rules`` of ``circle`` at ``at`` (microseconds UTC)."""
        fetched: dict[Need, Answer] = {}
        missed: dict[str, None] = {}
        deadline = asyncio.get_running_loop().time() + BUDGET_SECONDS

        def known(need: Need) -> Answer | None:
            answer = fetched[need] if need in fetched else self._source.known(need, self._now())
            if need.kind is NeedKind.CERTIFICATE and isinstance(answer, Failed):
                missed[need.source] = None
            return answer

        await self._fetch([need for need in circle.crls if known(need) is None], fetched, deadline)
        given = tuple(crl for crl in map(known, circle.crls) if isinstance(crl, Crl))
        at_hand = AtHand(along.certificates, given, stapled(along.revocations), known, along.signed_at)
        for _ in range(_ROUNDS):
            answer = judge(certificate, at_hand, at, rules)
            if not isinstance(answer, Needs):
                if isinstance(answer, Trusted) and Reason.REVOCATION_STALE in answer.marks:
                    stale = RevocationStale(kind=rules.purpose, zone=circle.zone or "", subject=facts(certificate).subject)
                    self._observer.see(stale)
                return _perhaps_later(answer, missed)
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


def _perhaps_later(answer: Trusted | Distrusted, missed: Iterable[str]) -> Trusted | Distrusted:
    """``answer``; what leads nowhere may lead on from what ``missed``, the places of issuers, could not give now."""
    places = ", ".join(missed)
    if not places or isinstance(answer, Trusted) or answer.reason is not Reason.CHAIN:
        return answer
    return replace(answer, detail=f"{answer.detail}, and nothing was had from {places}", later=Reason.DIRECTORY_UNAVAILABLE)
