"""Trust anchors as an administrator lists them, and the paths already found to lead to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.trust.certificate import CertificateFacts, facts
from gateway.trust.name import NormalName

_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Chain:
    """A path that holds: DER, anchor first, leaf last, and the facts of each."""

    path: tuple[bytes, ...]
    facts: tuple[CertificateFacts, ...]


class Anchors:
    """The certificates of one list. One whose issuer stands in the list too is no anchor of its own but an intermediate of
    that issuer, so that revoking it there counts; every other is an anchor, whether or not it signed itself.
    """

    def __init__(self, certificates: Iterable[bytes]) -> None:
        """From DER. Raises :class:`gateway.trust.certificate.CertificateError` for what is no certificate."""
        listed = {facts(der).sha256: der for der in certificates}
        authorities = {facts(der).subject_name for der in listed.values() if facts(der).is_ca}
        below = {digest for digest, der in listed.items() if not facts(der).self_issued and facts(der).issuer_name in authorities}
        self.certificates: tuple[bytes, ...] = tuple(der for digest, der in listed.items() if digest not in below)
        self.intermediates: tuple[bytes, ...] = tuple(listed[digest] for digest in below)
        self._digests = frozenset(listed) - below
        self._named: dict[NormalName, list[bytes]] = {}
        for der in self.certificates:
            self._named.setdefault(facts(der).subject_name, []).append(der)
        self._chains: OrderedDict[tuple[bytes, Hashable], tuple[Chain, int, int]] = OrderedDict()

    def __contains__(self, sha256: bytes) -> bool:
        """Whether the certificate with this digest is itself an anchor."""
        return sha256 in self._digests

    def named(self, name: NormalName) -> tuple[bytes, ...]:
        """The anchors of this name, DER."""
        return tuple(self._named.get(name, ()))

    def remembered(self, leaf: CertificateFacts, conditions: Hashable, at: int) -> Chain | None:
        """The path found before for ``leaf`` under ``conditions``, while every certificate in it is valid at ``at``."""
        known = self._chains.get((leaf.sha256, conditions))
        if known is None:
            return None
        chain, begin, end = known
        return chain if begin <= at <= end else None

    def remember(self, chain: Chain, conditions: Hashable) -> None:
        """Keeps a path that was checked in full under ``conditions``. Good news only: others may cure a failure."""
        if len(self._chains) >= _REMEMBERED:
            self._chains.popitem(last=False)  # in one step: threads may share a list
        begin = max(certificate.not_before for certificate in chain.facts)
        end = min(certificate.not_after for certificate in chain.facts)
        self._chains[chain.facts[-1].sha256, conditions] = (chain, begin, end)
