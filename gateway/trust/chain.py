"""The bounded search for a path to an anchor, and whether a path found holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.outcome import Reason
from gateway.trust.anchors import Chain
from gateway.trust.answer import Certificates
from gateway.trust.certificate import CertificateError, CertificateFacts, facts
from gateway.trust.constraints import forbidden
from gateway.trust.judgement import Distrusted, Need, NeedKind, Needs
from gateway.trust.rfc5280 import invalid
from gateway.trust.rules import Issuers, Rules
from gateway.trust.sources import AtHand
from gateway.trust.strength import era
from gateway.trust.suitability import outside, unsuitable_authority, unusable

MAX_OTHERS: Final = 64
MAX_VISITS: Final = 64
MAX_PATHS: Final = 8
MAX_ISSUER_FETCHES: Final = 4


def find_chains(
    certificate: bytes, leaf: CertificateFacts, at_hand: AtHand, rules: Rules, at: int
) -> Iterator[Chain | Distrusted | Needs]:
    """Paths from an anchor to ``certificate`` (DER, with its facts) that hold at ``at`` (microseconds UTC); the last one taken is
    remembered in the anchors, and comes first another time. Nobody has asked about revocation yet.

    Where there is none, why: of several failures, the first that says more than CHAIN. Or, under ``FETCHED``, what is missing.
    """
    conditions = (rules.purpose, rules.policies, rules.depth, era(at))
    known = rules.anchors.remembered(leaf, conditions, at)
    if known is not None:
        yield known
    unfit = unusable(leaf, rules.purpose, at)
    if unfit is not None:
        yield unfit
    elif leaf.sha256 in rules.anchors:
        yield Chain((certificate,), (leaf,))
    else:
        for found in _found(certificate, _Search(rules, at_hand), rules, at):
            if isinstance(found, Chain):
                rules.anchors.remember(found, conditions)
            yield found


def _found(certificate: bytes, search: _Search, rules: Rules, at: int) -> Iterator[Chain | Distrusted | Needs]:
    failures: list[Distrusted] = []
    for tried, path in enumerate(search.paths((certificate,))):
        if tried == MAX_PATHS:
            break
        failure = _check(path, rules, at)
        if failure is None:
            yield Chain(path, tuple(facts(der) for der in path))
        else:
            failures.append(failure)
    if failures:
        yield next((failure for failure in failures if failure.reason is not Reason.CHAIN), failures[0])
    elif search.wanted:
        yield Needs(tuple(search.wanted))
    else:
        leaf = facts(certificate)
        yield Distrusted(Reason.CHAIN, f"{leaf.subject}: no path to an anchor from issuer {leaf.issuer}")


class _Search:
    """Depth first, anchors before others; bounded in depth, and in certificates looked at, which an adversary chose."""

    def __init__(self, rules: Rules, at_hand: AtHand) -> None:
        self._anchors = rules.anchors
        self._depth = rules.depth
        self._fetches = MAX_ISSUER_FETCHES if rules.issuers is Issuers.FETCHED else 0
        self._known = at_hand.known
        self._visits = 0
        self._pool: dict[object, list[bytes]] = {}
        self.wanted: dict[Need, None] = {}
        for der in (*at_hand.others[:MAX_OTHERS], *rules.anchors.intermediates):
            self._add(der)

    def paths(self, path: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
        """Every way from an anchor to the last of ``path``, whose first is the certificate to be continued upwards."""
        child = facts(path[0])
        for anchor in self._anchors.named(child.issuer_name):
            if _may_issue(facts(anchor), child):
                yield (anchor, *path)
        if len(path) >= self._depth:
            return
        issuers = self._pool.get(child.issuer_name) or self._fetched(path[0], child)
        for issuer in issuers:
            self._visits += 1
            if self._visits > MAX_VISITS:
                return
            if issuer not in path and _may_issue(facts(issuer), child):
                yield from self.paths((issuer, *path))

    def _add(self, der: bytes) -> None:
        try:
            between = facts(der)
        except CertificateError:
            return
        if between.is_ca and der not in self._pool.setdefault(between.subject_name, []):
            self._pool[between.subject_name].append(der)

    def _fetched(self, der: bytes, child: CertificateFacts) -> Sequence[bytes]:
        """The issuers found where ``child`` says that they are (RFC 5280 4.2.2.1); those nobody has asked for yet are wanted."""
        for url in child.issuer_urls:
            if self._anchors.named(child.issuer_name) or child.self_issued or not self._fetches:
                break
            self._fetches -= 1
            need = Need(NeedKind.CERTIFICATE, url, der)
            answer = self._known(need)
            if answer is None:
                self.wanted[need] = None
                break
            if isinstance(answer, Certificates):
                for found in answer.certificates:
                    self._add(found)
                break
        return self._pool.get(child.issuer_name, ())


def _may_issue(issuer: CertificateFacts, child: CertificateFacts) -> bool:
    """Whether the key identifiers do not speak against it (RFC 5280 4.2.1.1); the names are equal already."""
    return issuer.is_ca and (issuer.key_id is None or child.authority_key_id in {None, issuer.key_id})


def _check(path: tuple[bytes, ...], rules: Rules, at: int) -> Distrusted | None:
    purpose = rules.purpose
    for der in path[:-1]:
        authority = facts(der)
        unfit = unsuitable_authority(authority, purpose, at, signed=der != path[0]) or outside(authority, at)
        if unfit is not None:
            return unfit
    return invalid(path, rules.policies, at) or (None if purpose.of_gateways else _constrained(path))


def _constrained(path: tuple[bytes, ...]) -> Distrusted | None:
    leaf = facts(path[-1])
    try:
        name = forbidden(path[:-1], leaf)
    except Exception as error:  # as below
        return Distrusted(Reason.CHAIN, f"{leaf.subject}: name constraints cannot be read ({type(error).__name__})")
    return None if name is None else Distrusted(Reason.CHAIN, f"{leaf.subject}: an authority may not issue for {name}")
