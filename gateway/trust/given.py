"""Whom to believe by what somebody has at hand: certificates of authorities, their CRLs, and what came along with a signature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.outcome import Reason
from gateway.trust.along import Along, stapled
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Failed
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Need, Needs, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand


@dataclass(frozen=True, slots=True)
class GivenTrust:
    """Whom to believe: those below the anchors that were given, as far as the CRLs tell that were given, and where those are
    silent what came along. Nothing is fetched.
    """

    anchors: Anchors
    crls: tuple[Crl, ...]
    revocation: Revocation

    @classmethod
    def of(cls, anchors: Iterable[bytes], crls: Iterable[Crl] = (), revocation: Revocation = Revocation.SOFT) -> GivenTrust:
        """By certificates of authorities (DER) and their CRLs. ``revocation``: what becomes of a certificate without a current one.

        Raises :class:`gateway.trust.certificate.CertificateError` for what is no certificate.
        """
        return cls(Anchors(anchors), tuple(crls), revocation)

    def judge(self, certificate: bytes, along: Along, purpose: Purpose, at: int) -> Trusted | Distrusted:
        """Whether ``certificate`` (DER) is to be believed at ``at`` (microseconds UTC): as the gateway does, by this evidence."""
        at_hand = AtHand(along.certificates, self.crls, stapled(along.revocations), _not_given, along.signed_at)
        answer = judge(certificate, at_hand, at, Rules(self.anchors, purpose, self.revocation))
        if isinstance(answer, Needs):
            return Distrusted(Reason.REVOCATION_UNKNOWN, "not decided by what was given")
        return answer


def _not_given(need: Need) -> Failed:
    return Failed(f"{need.url}: not among the CRLs given")
