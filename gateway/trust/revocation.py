"""What CRLs (RFC 5280 6.3) and OCSP answers (RFC 6960) say about one certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.outcome import Reason
from gateway.trust.answer import Failed
from gateway.trust.certificate import CertificateFacts, facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind
from gateway.trust.moment import TOLERANCE
from gateway.trust.name import NormalName
from gateway.trust.ocsp import OcspAnswer, Word, request
from gateway.trust.places import ALL_REASONS, Point, Reasons
from gateway.trust.sources import AtHand
from gateway.trust.strength import weak_key, weak_signature


@dataclass(frozen=True, slots=True)
class Good:
    """Not revoked, says somebody who must know. ``marks`` has REVOCATION_STALE where it was said too long ago, within the grace."""

    marks: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Revoked:
    """The issuer revoked the certificate, at ``since`` (microseconds UTC)."""

    since: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody says anything that counts. ``detail`` says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """To be fetched, then asked again."""

    need: Need


Status = Good | Revoked | Unknown | Wanted

Signers = Callable[[NormalName], Iterator[bytes | Wanted]]
"""The certificates (DER) of an authority of this name that may have signed a CRL, each believed under the same anchor."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is asked about: a certificate (DER and facts) of ``issuer`` (DER), which is believed."""

    der: bytes
    certificate: CertificateFacts
    issuer: bytes


def status(standing: Standing, signers: Signers, at_hand: AtHand, at: int, grace: int = 0) -> Status:
    """What is known about a certificate at ``at`` (microseconds UTC); out-of-date answers count for ``grace`` more.

    First what was given, then the CRLs of its distribution points in their order, then its responders: one CRL serves every
    certificate of an issuer, and a responder learns whose mail we read. What is stapled comes last. A revocation counts even
    from an answer that is out of date: authorities do not take it back. A certificate that names no place is unknown, unless
    something came along.
    """
    details: list[str] = []
    for hand, late in _turns(at_hand, grace):
        inquiry = _Inquiry(standing, signers, hand, at, late)
        answer = inquiry.answer()
        if isinstance(answer, Good) and late:
            return Good((Reason.REVOCATION_STALE,))
        if not isinstance(answer, Unknown):
            return answer
        details = details or inquiry.details
    return Unknown("; ".join(details) or f"{standing.certificate.subject}: names no place of a CRL and no responder")


def _turns(at_hand: AtHand, grace: int) -> Iterator[tuple[AtHand, int]]:
    """Whom to ask, one after the other, and for how long his answer counts beyond its nextUpdate."""
    yield at_hand, 0
    if at_hand.stapled:
        yield AtHand(given=at_hand.stapled, known=_not_asked), 0
    if grace:
        yield at_hand, grace


class _Inquiry:
    """One certificate, and what has been heard about it."""

    def __init__(self, standing: Standing, signers: Signers, at_hand: AtHand, at: int, grace: int) -> None:
        self._standing = standing
        self._certificate = standing.certificate
        self._signers = signers
        self._at_hand = at_hand
        self._at = at
        self._grace = grace
        self._covered: Reasons = 0
        self.details: list[str] = []

    def answer(self) -> Status:
        """What the first of them says who says anything."""
        for ask in (self.given, self.crls, self.responders):
            answer = ask()
            if not isinstance(answer, Unknown):
                return answer
        return _NOTHING

    def given(self) -> Status:
        """From the OCSP answers that were given."""
        for answer in self._at_hand.given:
            if isinstance(answer, OcspAnswer):
                said = self._answered(answer)
                if not isinstance(said, Unknown):
                    return said
        return _NOTHING

    def crls(self) -> Status:
        """RFC 5280 6.3.3: point by point until every reason is covered; then what was given and stands at no point."""
        for point in (*self._certificate.points, _elsewhere(self._certificate)):
            for crl, signer in self._candidates(point):
                said = crl if isinstance(crl, Wanted) else self._consult(crl, signer, point)
                if said is not None:
                    return said
                if not point.reasons & ~self._covered:
                    break
            if self._covered == ALL_REASONS:
                return Good()
        return _NOTHING

    def responders(self) -> Status:
        """From the responders it names."""
        for url in self._certificate.ocsp_urls:
            need = Need(NeedKind.OCSP, url, self._standing.issuer, request(self._standing.der, self._standing.issuer))
            answer = self._at_hand.known(need)
            if isinstance(answer, Failed):
                self.details.append(answer.detail)
                continue
            if not isinstance(answer, OcspAnswer):
                return Wanted(need)
            said = self._answered(answer)
            if not isinstance(said, Unknown):
                return said
        return _NOTHING

    def _candidates(self, point: Point) -> Iterator[tuple[Crl, bytes] | tuple[Wanted, bytes]]:
        """CRLs for ``point``, each with the certificate that signed it."""
        issuers = point.issuers or (self._certificate.issuer_name,)
        for crl in self._at_hand.given:
            if isinstance(crl, Crl) and crl.base is None and crl.issuer in issuers:
                yield from self._signed(crl)
        for url in point.urls:
            yield from self._fetched(url, issuers)

    def _signed(self, crl: Crl) -> Iterator[tuple[Crl, bytes] | tuple[Wanted, bytes]]:
        for signer in self._signers(crl.issuer):
            if isinstance(signer, Wanted):
                yield signer, b""
            elif crl.signed_by(signer):
                yield crl, signer
                return
        self._note("signed by nobody who may sign it")

    def _fetched(self, url: str, issuers: tuple[NormalName, ...]) -> Iterator[tuple[Crl, bytes] | tuple[Wanted, bytes]]:
        """An authority may sign its CRLs with another key than its certificates: the issuer's own is tried first."""
        tried: list[str] = []
        for signer in (each for name in issuers for each in self._signers(name)):
            if isinstance(signer, Wanted):
                yield signer, b""
                continue
            need = Need(NeedKind.CRL, url, signer)
            crl = self._at_hand.known(need)
            if isinstance(crl, Failed):
                tried.append(crl.detail)
            elif not isinstance(crl, Crl):
                yield Wanted(need), b""
            elif crl.base is None and crl.signed_by(signer):
                yield crl, signer
                return
            else:
                tried.append(f"CRL for {self._certificate.subject}: not signed by the certificate's issuer")
        self.details += tried[:1] or [f"{url}: whoever makes this CRL is not known"]

    def _consult(self, crl: Crl, signer: bytes, point: Point) -> Revoked | Wanted | None:
        """6.3.3 (b) to (l) for one CRL; None where it revokes nothing, and then the reasons it speaks for are covered."""
        if not _made_for(crl, point, self._certificate):
            self._note("made for other certificates")
            return None
        if not crl.strong(self._at):
            self._note("signed with a weak algorithm")
            return None
        delta = self._delta(crl, signer)
        if isinstance(delta, Wanted):
            return delta
        since = crl.revoked_since(self._certificate)
        if delta is not None:
            newer = delta.revoked_since(self._certificate)
            since = None if delta.restores(self._certificate) else newer if newer is not None else since
        if since is not None and since <= self._at + TOLERANCE:
            return Revoked(since)
        if self._too_late(crl.this_update):
            self._note("made after the certificate expired")
        elif crl.current(self._at, self._grace) or (delta is not None and delta.current(self._at, self._grace)):
            self._covered |= crl.scope.reasons & point.reasons
        else:
            self._note("out of date")
        return None

    def _delta(self, crl: Crl, signer: bytes) -> Crl | Wanted | None:
        """The newest delta that may be laid over ``crl``. One that cannot be had is passed over: the complete CRL still says what
        it says (RFC 5280 5.2.4).
        """
        found = [each for each in self._at_hand.given if isinstance(each, Crl)]
        places = (*self._certificate.freshest, *crl.freshest)
        if not found and not places:
            return None
        for url in (url for point in places for url in point.urls):
            need = Need(NeedKind.CRL, url, signer)
            answer = self._at_hand.known(need)
            if answer is None:
                return Wanted(need)
            if isinstance(answer, Crl):
                found.append(answer)
        usable = [each for each in found if each.builds_on(crl) and each.strong(self._at) and each.signed_by(signer)]
        return max(usable, key=lambda each: each.this_update, default=None)

    def _answered(self, answer: OcspAnswer) -> Status:
        """What an OCSP answer says; Unknown where it says nothing that counts."""
        standing = self._standing
        maker = answer.maker(standing.issuer)
        said = answer.about(standing.der, standing.issuer)
        if maker is None or not answer.strong(self._at):
            return self._silent("not made by its issuer nor by a responder it appointed")
        if said is None or said.word is Word.UNKNOWN:
            return self._silent("the responder does not know the certificate")
        if maker != standing.issuer:
            own = self._responder(maker)
            if own is not None:
                return own
        if said.word is Word.REVOKED:
            return Revoked(said.since) if said.since <= self._at + TOLERANCE else self._silent("revoked later")
        if self._too_late(said.this_update):
            return self._silent("made after the certificate expired")
        return Good() if said.current(self._at, self._grace) else self._silent("out of date")

    def _responder(self, maker: bytes) -> Wanted | Unknown | None:
        """Why an appointed responder may not be heard: its own certificate has run out, or may be revoked (RFC 6960 4.2.2.2.1)."""
        responder = facts(maker)
        weak = weak_signature(responder, self._at) or weak_key(responder.key, self._at)
        if weak is not None:
            return self._silent(f"the responder's own certificate: {weak}")
        if not responder.not_before - TOLERANCE <= self._at <= responder.not_after + TOLERANCE:
            return self._silent("the responder's own certificate is out of date")
        if responder.ocsp_no_check:
            return None
        own = _Inquiry(Standing(maker, responder, self._standing.issuer), self._signers, self._at_hand, self._at, 0).crls()
        if isinstance(own, Wanted):
            return own
        return None if isinstance(own, Good) else self._silent("the responder's own certificate may be revoked")

    def _too_late(self, this_update: int) -> bool:
        """Whether the certificate had expired by then: authorities no longer list those that they revoked (RFC 5280 3.3)."""
        return this_update > self._certificate.not_after + TOLERANCE

    def _silent(self, detail: str) -> Unknown:
        self.details.append(f"OCSP for {self._certificate.subject}: {detail}")
        return _NOTHING

    def _note(self, detail: str) -> None:
        self.details.append(f"CRL for {self._certificate.subject}: {detail}")


_NOTHING: Final = Unknown("")


def _not_asked(need: Need) -> Failed:
    return Failed(need.url)


def _elsewhere(certificate: CertificateFacts) -> Point:
    """The point that stands for CRLs found anywhere else (RFC 5280 6.3.3, last paragraph)."""
    return Point(frozenset({("dn", certificate.issuer_name)}), (), ALL_REASONS, ())


def _made_for(crl: Crl, point: Point, certificate: CertificateFacts) -> bool:
    """RFC 5280 6.3.3 (b): by the right issuer, for this point, for certificates of this kind."""
    if point.issuers and not (crl.issuer in point.issuers and crl.scope.indirect):
        return False
    if not point.issuers and crl.issuer != certificate.issuer_name:
        return False
    names = point.names or frozenset(("dn", issuer) for issuer in point.issuers)
    return crl.scope.covers(certificate) and (not crl.scope.names or bool(crl.scope.names & names))
