"""Whether a certificate is revoked: who is asked, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.outcome import Reason
from gateway.trust.answer import Failed
from gateway.trust.crlstatus import crl_status
from gateway.trust.judgement import Need
from gateway.trust.ocspstatus import given_status, responder_status
from gateway.trust.sources import AtHand
from gateway.trust.standing import Good, Hearing, Standing, Status, Unknown


def status(standing: Standing, hearing: Hearing) -> Status:
    """What is known about a certificate.

    First what was given, then the CRLs of its distribution points in their order, then its responders: one CRL serves every
    certificate of an issuer, and a responder learns whose mail we read. What is stapled comes next, and answers that are out of
    date last, as long as the grace lasts. A revocation counts even from an answer that is out of date: authorities do not take it
    back. A certificate that names no place is unknown, unless something came along.
    """
    details: list[str] = []
    for turn in _turns(hearing):
        for ask in (given_status, crl_status, responder_status):
            answer = ask(standing, turn)
            if isinstance(answer, Good):
                return Good((Reason.REVOCATION_STALE,)) if turn.grace else answer
            if not isinstance(answer, Unknown):
                return answer
            if answer.detail and turn.at_hand is hearing.at_hand and not turn.grace:
                details.append(answer.detail)
    return Unknown("; ".join(details) or f"{standing.certificate.subject}: names no place of a CRL and no responder")


def _turns(hearing: Hearing) -> Iterator[Hearing]:
    yield replace(hearing, grace=0) if hearing.grace else hearing
    if hearing.at_hand.stapled:
        yield replace(hearing, at_hand=AtHand(given=hearing.at_hand.stapled, known=_not_asked), grace=0)
    if hearing.grace:
        yield hearing


def _not_asked(need: Need) -> Failed:
    return Failed(need.url)
