"""What OCSP answers say about one certificate (RFC 6960)."""

from __future__ import annotations

from gateway.trust.answer import Failed
from gateway.trust.certificate import facts
from gateway.trust.crlstatus import crl_status
from gateway.trust.judgement import Need, NeedKind
from gateway.trust.moment import TOLERANCE
from gateway.trust.ocsp import OcspAnswer, Word, request
from gateway.trust.standing import Good, Hearing, Revoked, Standing, Status, Unknown, Wanted
from gateway.trust.strength import weak_key, weak_signature


def given_status(standing: Standing, hearing: Hearing) -> Status:
    """What the OCSP answers say that were given."""
    answers = [each for each in hearing.at_hand.given if isinstance(each, OcspAnswer)]
    return _first([_said(answer, standing, hearing) for answer in answers])


def responder_status(standing: Standing, hearing: Hearing) -> Status:
    """What the responders say that the certificate names, in their order."""
    heard: list[Status] = []
    for url in standing.certificate.ocsp_urls:
        need = Need(NeedKind.OCSP, url, standing.issuer, request(standing.der, standing.issuer))
        answer = hearing.at_hand.known(need)
        if isinstance(answer, OcspAnswer):
            heard.append(_said(answer, standing, hearing))
        else:
            heard.append(Unknown(answer.detail) if isinstance(answer, Failed) else Wanted(need))
        if not isinstance(heard[-1], Unknown):
            break
    return _first(heard)


def _first(heard: list[Status]) -> Status:
    """The first that says something; else why nobody does."""
    said = [status for status in heard if not isinstance(status, Unknown)]
    return said[0] if said else Unknown("; ".join(status.detail for status in heard if isinstance(status, Unknown)))


def _said(answer: OcspAnswer, standing: Standing, hearing: Hearing) -> Status:
    """What one answer says; Unknown where it says nothing that counts."""
    at, subject = hearing.at, f"OCSP for {standing.certificate.subject}"
    maker, said = answer.maker(standing.issuer), answer.about(standing.der, standing.issuer)
    if maker is None or not answer.strong(at):
        return Unknown(f"{subject}: not made by its issuer nor by a responder it appointed")
    if said is None or said.word is Word.UNKNOWN:
        return Unknown(f"{subject}: the responder does not know the certificate")
    doubt = None if maker == standing.issuer else _doubt(maker, standing.issuer, hearing)
    if doubt is not None:
        return doubt if isinstance(doubt, Wanted) else Unknown(f"{subject}: the responder's own certificate {doubt}")
    if said.word is Word.REVOKED:
        return Revoked(said.since) if said.since <= at + TOLERANCE else Unknown(f"{subject}: revoked later")
    if standing.expired_by(said.this_update):
        return Unknown(f"{subject}: made after the certificate expired")
    return Good() if said.current(at, hearing.grace) else Unknown(f"{subject}: out of date")


def _doubt(maker: bytes, issuer: bytes, hearing: Hearing) -> Wanted | str | None:
    """Why an appointed responder may not be heard: its certificate has run out, or may be revoked (RFC 6960 4.2.2.2.1)."""
    responder = facts(maker)
    weak = weak_signature(responder, hearing.at) or weak_key(responder.key, hearing.at)
    if weak is not None:
        return f"is weak: {weak}"
    if not responder.not_before - TOLERANCE <= hearing.at <= responder.not_after + TOLERANCE:
        return "is out of date"
    if responder.ocsp_no_check:
        return None
    own = crl_status(Standing(maker, responder, issuer), hearing)
    return own if isinstance(own, Wanted) else None if isinstance(own, Good) else "may be revoked"
