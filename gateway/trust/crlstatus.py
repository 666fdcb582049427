"""What CRLs say about one certificate (RFC 5280 6.3)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.trust.answer import Failed
from gateway.trust.certificate import CertificateFacts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind
from gateway.trust.moment import TOLERANCE
from gateway.trust.name import NormalName
from gateway.trust.places import ALL_REASONS, Point, Reasons
from gateway.trust.standing import Good, Hearing, Revoked, Standing, Status, Unknown, Wanted


def crl_status(standing: Standing, hearing: Hearing) -> Status:
    """What the CRLs of its distribution points say, in their order, and those that were given."""
    return _Inquiry(standing, hearing).status()


class _Inquiry:
    """One certificate, and what has been heard about it."""

    def __init__(self, standing: Standing, hearing: Hearing) -> None:
        self._standing = standing
        self._certificate = standing.certificate
        self._hearing = hearing
        self._covered: Reasons = 0
        self._details: list[str] = []

    def status(self) -> Status:
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
        return Unknown("; ".join(self._details))

    def _candidates(self, point: Point) -> Iterator[tuple[Crl, bytes] | tuple[Wanted, bytes]]:
        """CRLs for ``point``, each with the certificate that signed it."""
        issuers = point.issuers or (self._certificate.issuer_name,)
        for crl in self._hearing.at_hand.given:
            if isinstance(crl, Crl) and crl.base is None and crl.issuer in issuers:
                yield from self._signed(crl)
        for url in point.urls:
            yield from self._fetched(url, issuers)

    def _signed(self, crl: Crl) -> Iterator[tuple[Crl, bytes] | tuple[Wanted, bytes]]:
        for signer in self._hearing.signers(crl.issuer):
            if isinstance(signer, Wanted):
                yield signer, b""
            elif crl.signed_by(signer):
                yield crl, signer
                return
        self._note("signed by nobody who may sign it")

    def _fetched(self, url: str, issuers: tuple[NormalName, ...]) -> Iterator[tuple[Crl, bytes] | tuple[Wanted, bytes]]:
        """An authority may sign its CRLs with another key than its certificates: the issuer's own is tried first."""
        tried: list[str] = []
        for signer in (each for name in issuers for each in self._hearing.signers(name)):
            if isinstance(signer, Wanted):
                yield signer, b""
                continue
            need = Need(NeedKind.CRL, url, signer)
            crl = self._hearing.at_hand.known(need)
            if isinstance(crl, Failed):
                tried.append(crl.detail)
            elif not isinstance(crl, Crl):
                yield Wanted(need), b""
            elif crl.base is None and crl.signed_by(signer):
                yield crl, signer
                return
            else:
                tried.append(f"CRL for {self._certificate.subject}: not signed by the certificate's issuer")
        self._details += tried[:1] or [f"{url}: whoever makes this CRL is not known"]

    def _consult(self, crl: Crl, signer: bytes, point: Point) -> Revoked | Wanted | None:
        """6.3.3 (b) to (l) for one CRL; None where it revokes nothing, and then the reasons it speaks for are covered."""
        at, grace = self._hearing.at, self._hearing.grace
        if not _made_for(crl, point, self._certificate):
            self._note("made for other certificates")
            return None
        if not crl.strong(at):
            self._note("signed with a weak algorithm")
            return None
        delta = self._delta(crl, signer)
        if isinstance(delta, Wanted):
            return delta
        since = self._revoked_since(crl, delta)
        if since is not None and since <= at + TOLERANCE:
            return Revoked(since)
        if self._standing.expired_by(crl.this_update):
            self._note("made after the certificate expired")
        elif crl.current(at, grace) or (delta is not None and delta.current(at, grace)):
            self._covered |= crl.scope.reasons & point.reasons
        else:
            self._note("out of date")
        return None

    def _revoked_since(self, crl: Crl, delta: Crl | None) -> int | None:
        """What both say together; a delta that is out of date takes nothing back."""
        since = crl.revoked_since(self._certificate)
        if delta is None:
            return since
        if delta.restores(self._certificate) and delta.current(self._hearing.at):
            return None
        newer = delta.revoked_since(self._certificate)
        return since if newer is None else newer

    def _delta(self, crl: Crl, signer: bytes) -> Crl | Wanted | None:
        """The newest delta that may be laid over ``crl``. One that cannot be had is passed over: the complete CRL still says what
        it says (RFC 5280 5.2.4).
        """
        found = [each for each in self._hearing.at_hand.given if isinstance(each, Crl)]
        places = (*self._certificate.freshest, *crl.freshest)
        if not found and not places:
            return None
        for url in (url for point in places for url in point.urls):
            need = Need(NeedKind.CRL, url, signer)
            answer = self._hearing.at_hand.known(need)
            if answer is None:
                return Wanted(need)
            if isinstance(answer, Crl):
                found.append(answer)
        usable = [each for each in found if each.builds_on(crl) and each.strong(self._hearing.at) and each.signed_by(signer)]
        return max(usable, key=lambda each: each.this_update, default=None)

    def _note(self, detail: str) -> None:
        self._details.append(f"CRL for {self._certificate.subject}: {detail}")


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
