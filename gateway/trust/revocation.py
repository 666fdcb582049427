"""What CRLs and OCSP answers say about one certificate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.trust.answer import Failed
from gateway.trust.certificate import CertificateFacts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind
from gateway.trust.moment import TOLERANCE
from gateway.trust.sources import AtHand


@dataclass(frozen=True, slots=True)
class Good:
    """A current CRL of the issuer does not list the certificate."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The issuer revoked the certificate, at ``since`` (microseconds UTC)."""

    since: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """No CRL says anything that counts. ``detail`` says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """To be fetched, then asked again."""

    need: Need


Status = Good | Revoked | Unknown | Wanted


def status(certificate: CertificateFacts, issuer: bytes, at_hand: AtHand, at: int) -> Status:
    """What the CRLs of ``issuer`` (DER) say about ``certificate`` at ``at``.

    The places in a certificate are tried in their order, the next one only when those before it said nothing that counts. A
    revocation counts even from a CRL that is out of date: authorities do not take it back. A certificate that names no
    place is unknown, unless a CRL of its issuer was given by hand.
    """
    details = []
    for crl in _candidates(certificate, issuer, at_hand):
        if isinstance(crl, Wanted):
            return crl
        if isinstance(crl, Failed):
            details.append(crl.detail)
            continue
        answer = _ask(crl, certificate, issuer, at)
        if not isinstance(answer, Unknown):
            return answer
        details.append(answer.detail)
    return Unknown("; ".join(details) or f"{certificate.subject}: names no place of a CRL")


def _candidates(certificate: CertificateFacts, issuer: bytes, at_hand: AtHand) -> Iterator[Crl | Failed | Wanted]:
    yield from (crl for crl in at_hand.given if isinstance(crl, Crl) and crl.issuer == certificate.issuer_name)
    for url in certificate.crl_urls:
        need = Need(NeedKind.CRL, url, issuer)
        crl = at_hand.known(need)
        if isinstance(crl, Crl | Failed):
            yield crl
        else:
            yield Wanted(need)


def _ask(crl: Crl, certificate: CertificateFacts, issuer: bytes, at: int) -> Good | Revoked | Unknown:
    if not crl.signed_by(issuer):
        return Unknown(f"CRL for {certificate.subject}: not signed by the certificate's issuer")
    since = crl.revoked_since(certificate.serial)
    if not crl.covers(certificate):
        return Unknown(f"CRL for {certificate.subject}: made for other certificates or for some reasons alone")
    if since is not None and since <= at + TOLERANCE:
        return Revoked(since)
    if not crl.current(at):
        return Unknown(f"CRL for {certificate.subject}: out of date")
    return Good()
