"""``judge``: whether a certificate is to be believed for a purpose. It fetches nothing; what it lacks it asks for.

Ours are the rules of purpose, the strength of algorithms, the bounded search for a path, and revocation. RFC 5280 section 6
along the path found is decided in ``rfc5280.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, TypeGuard

from gateway.outcome import Reason
from gateway.trust.anchors import Chain
from gateway.trust.certificate import CertificateError, facts
from gateway.trust.chain import MAX_OTHERS, find_chains
from gateway.trust.judgement import Distrusted, Judgement, Need, Needs, Purpose, Revocation, Trusted
from gateway.trust.moment import HOUR, as_text
from gateway.trust.name import NormalName
from gateway.trust.revocation import status
from gateway.trust.rules import ANY_POLICY_DOES, Issuers, Rules
from gateway.trust.sources import AtHand
from gateway.trust.standing import Hearing, Revoked, Standing, Status, Unknown, Wanted

MAX_SIGNERS: Final = 4
MAX_UNDER_WAY: Final = 120 * HOUR  # as long as mail is retried (RFC 5321 4.5.4.1)
MAX_SIGNERS_DEEP: Final = 2


def judge(certificate: bytes, at_hand: AtHand, at: int, rules: Rules) -> Judgement:
    """Whether ``certificate`` (DER) is to be believed under ``rules`` at ``at`` (microseconds UTC).

    Under ``HARD`` every certificate of the path but the anchor needs a current CRL or OCSP answer (one that names no place of
    either has none, unless one was given); under ``SOFT`` a missing one is a mark; under ``UNSAFE_OFF`` nobody asks. A path once
    found is remembered in the anchors; revocation is looked up each time. What expired while a mail was under way was valid when
    it was signed, and that is enough; whether it is revoked is asked about ``at``.
    """
    try:
        leaf = facts(certificate)
    except CertificateError as error:
        return Distrusted(error.reason, error.detail)
    answer = _first(find_chains(certificate, leaf, at_hand, rules, at), at_hand, at, rules)
    if isinstance(answer, Distrusted) and answer.reason is Reason.EXPIRED and _lately(at_hand.signed_at, at):
        return _first(find_chains(certificate, leaf, at_hand, rules, at_hand.signed_at), at_hand, at, rules)
    return answer


def _first(found: Iterator[Chain | Distrusted | Needs], at_hand: AtHand, at: int, rules: Rules) -> Judgement:
    """What is said along the first path on which no authority was revoked: one that is certified twice may have lost either."""
    revoked: Distrusted | None = None
    for chain in found:
        if not isinstance(chain, Chain):
            return revoked or chain
        if rules.revocation is Revocation.UNSAFE_OFF:
            return Trusted(chain.path)
        revocations = _Revocations(chain.path[0], at_hand, at, rules)
        answer = revocations.of(chain)
        if not isinstance(answer, Distrusted) or answer.reason is not Reason.REVOKED or revocations.lost(chain):
            return answer
        revoked = revoked or answer
    return revoked or Distrusted(Reason.CHAIN)


def _lately(signed_at: int | None, at: int) -> TypeGuard[int]:
    """Whether a mail may have been under way since then. The signer says so himself: further back he is not believed."""
    return signed_at is not None and at - MAX_UNDER_WAY <= signed_at < at


class _Revocations:
    """Asks for each certificate of a path, and for those of whoever signs its CRLs with another key."""

    def __init__(self, anchor: bytes, at_hand: AtHand, at: int, rules: Rules) -> None:
        self._anchor = anchor
        self._at_hand = at_hand
        self._at = at
        self._rules = rules
        self._asked: list[bytes] = []
        self._known: dict[bytes, bool | Wanted] = {}

    def of(self, chain: Chain) -> Judgement:
        """What is known about all of ``chain``."""
        wanted: dict[Need, None] = {}
        unknown: list[str] = []
        marks: dict[Reason, None] = {}
        for issuer, der, certificate in zip(chain.path, chain.path[1:], chain.facts[1:], strict=False):
            answer = self._status(Standing(der, certificate, issuer))
            if isinstance(answer, Revoked):
                return Distrusted(Reason.REVOKED, f"{certificate.subject}: revoked since {as_text(answer.since)}")
            if isinstance(answer, Wanted):
                wanted[answer.need] = None
            elif isinstance(answer, Unknown):
                unknown.append(answer.detail)
            else:
                marks.update(dict.fromkeys(answer.marks))
        if wanted:
            return Needs(tuple(wanted))
        if unknown and self._rules.revocation is Revocation.HARD:
            return Distrusted(Reason.REVOCATION_UNKNOWN, "; ".join(unknown))
        return Trusted(chain.path, (*marks, Reason.REVOCATION_UNKNOWN) if unknown else tuple(marks))

    def lost(self, chain: Chain) -> bool:
        """Whether the last of ``chain`` is itself revoked, and another path would not help."""
        answer = self.of(Chain(chain.path[-2:], chain.facts[-2:]))
        return isinstance(answer, Distrusted) and answer.reason is Reason.REVOKED

    def _status(self, standing: Standing) -> Status:
        def signers(name: NormalName) -> Iterator[bytes | Wanted]:
            return self._signers(name, standing.issuer)

        return status(standing, Hearing(signers, self._at_hand, self._at, self._rules.grace))

    def _signers(self, name: NormalName, issuer: bytes) -> Iterator[bytes | Wanted]:
        """Who may sign CRLs in this name: the issuer itself, then others under the same anchor (RFC 5280 6.3.3 f)."""
        if facts(issuer).subject_name == name:
            yield issuer
        anchors = self._rules.anchors
        found = (*anchors.named(name), *anchors.intermediates, *self._at_hand.others[:MAX_OTHERS])
        candidates = dict.fromkeys(der for der in found if der != issuer and _signs_crls(der, name))
        for der in list(candidates)[:MAX_SIGNERS]:
            believed = self._believed(der)
            if believed is not False:
                yield der if believed is True else believed

    def _believed(self, der: bytes) -> bool | Wanted:
        """Whether ``der`` leads to the same anchor and is not revoked. One that is being asked about already is taken to be good:
        its own CRL may say otherwise, and then counts.
        """
        if der == self._anchor or der in self._asked:
            return True
        if der in self._known:
            return self._known[der]
        if len(self._asked) == MAX_SIGNERS_DEEP:
            return False
        self._asked.append(der)
        believed = self._ask(der)
        self._asked.remove(der)
        if not self._asked:  # else it was said on a condition
            self._known[der] = believed
        return believed

    def _ask(self, der: bytes) -> bool | Wanted:
        rules = replace(self._rules, purpose=Purpose.CRL_SIGNER, policies=ANY_POLICY_DOES, issuers=Issuers.GIVEN)
        chain = next(find_chains(der, facts(der), self._at_hand, rules, self._at))
        if not isinstance(chain, Chain) or chain.path[0] != self._anchor:
            return False
        answer = self.of(chain)
        if isinstance(answer, Needs):
            return Wanted(answer.needs[0])
        return isinstance(answer, Trusted) and Reason.REVOCATION_UNKNOWN not in answer.marks


def _signs_crls(der: bytes, name: NormalName) -> bool:
    try:
        candidate = facts(der)
    except CertificateError:
        return False
    return candidate.subject_name == name and (candidate.ku is None or "crl_sign" in candidate.ku)
