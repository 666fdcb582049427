"""What it costs to believe a certificate: CPU time of ``judge`` for chains known and chains never seen, and of look-ups."""

from __future__ import annotations

import datetime as dt
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.goal import Goal
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, read_answer
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind, Purpose, Revocation, Trusted
from gateway.trust.moment import microseconds
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand

ENTRIES: Final = 50_000
CHAINS: Final = 100
KNOWN_TURNS: Final = 2000

_NOW: Final = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
_AT: Final = microseconds(_NOW)
_YEAR: Final = dt.timedelta(days=365)
_NO_USAGE: Final = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)
_NAMES: Final = tuple(
    x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zone"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    for name in ("Root", "Issuing", "results@laboratory.example")
)
_PLACES: Final = ("http://crl.zone.example/root.crl", "http://crl.zone.example/issuing.crl")


class Work(StrEnum):
    """What is measured, in the words of the page."""

    COLD = "a chain of three never seen, its CRLs in cache"
    KNOWN = "a chain of three seen before"
    PATH = "the same, where nobody asks about revocation"
    LOOK_UP = "a look-up among the serial numbers of a CRL"
    LOAD = "reading that CRL, once"


MARKS: Final[Mapping[Work, float]] = {Work.COLD: 3e-3, Work.KNOWN: 50e-6, Work.LOOK_UP: 1e-3}
"""At most so many seconds of CPU time."""


@dataclass(frozen=True)
class Belief:
    """CPU seconds for one turn of each work, by rounds. The CRL of the issuing authority lists ``entries`` certificates."""

    rounds: Mapping[Work, tuple[float, ...]]
    entries: int

    def seconds(self, work: Work) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds[work])


@dataclass(frozen=True)
class Chain:
    """Three certificates (DER, root first) and the two CRLs that say they are not revoked, as they came from their places."""

    path: tuple[bytes, ...]
    crls: Mapping[Need, Answer]

    def judged(self, anchors: Anchors, revocation: Revocation = Revocation.HARD) -> None:
        """The leaf is judged; raises where it is not trusted."""
        at_hand = AtHand(self.path[1:2], known=self.crls.get)
        answer = judge(self.path[-1], at_hand, _AT, Rules(anchors, Purpose.SMIME_SIGNER, revocation))
        if not isinstance(answer, Trusted) or answer.marks:
            raise RuntimeError(f"a good chain is not trusted: {answer}")

    def judged_cold(self) -> None:
        """As :meth:`judged`, and nothing is remembered of any of the three."""
        self.judged(Anchors(self.path[:1]))


class Authority:
    """Makes chains that differ in their serial numbers alone: RSA-2048, SHA-256."""

    def __init__(self) -> None:
        self._keys = tuple(rsa.generate_private_key(65537, 2048) for _ in _NAMES)
        self._serials = itertools.count(1 << 64)

    def chain(self, entries: int) -> Chain:
        """A new one, whose issuing authority has revoked ``entries`` certificates."""
        path = tuple(self._certificate(level) for level in range(3))
        revoked = (range(0), range(1, entries + 1))
        needs = [Need(NeedKind.CRL, place, issuer) for place, issuer in zip(_PLACES, path, strict=False)]
        return Chain(path, {need: read_answer(need, (self.crl(level, revoked[level]),)) for level, need in enumerate(needs)})

    def crl(self, level: int, revoked: Sequence[int]) -> bytes:
        """The CRL (DER) of the authority on ``level``, the root's being 0."""
        builder = x509.CertificateRevocationListBuilder(_NAMES[level], _NOW, _NOW + _YEAR)
        for serial in revoked:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, _NOW).build())
        return builder.sign(self._keys[level], hashes.SHA256()).public_bytes(Encoding.DER)

    def _certificate(self, level: int) -> bytes:
        above, leaf = max(level - 1, 0), level == 2
        builder = x509.CertificateBuilder(_NAMES[above], _NAMES[level], self._keys[level].public_key())
        builder = builder.serial_number(next(self._serials)).not_valid_before(_NOW - _YEAR).not_valid_after(_NOW + _YEAR)
        builder = builder.add_extension(x509.BasicConstraints(ca=not leaf, path_length=None), critical=True)
        usages = ("digital_signature",) if leaf else ("key_cert_sign", "crl_sign")
        builder = builder.add_extension(x509.KeyUsage(**_NO_USAGE | dict.fromkeys(usages, True)), critical=True)
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._keys[level].public_key())
        builder = builder.add_extension(key_id, critical=False)
        if level:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._keys[above].public_key())
            place = x509.DistributionPoint([x509.UniformResourceIdentifier(_PLACES[above])], None, None, None)
            builder = builder.add_extension(issuer, critical=False)
            builder = builder.add_extension(x509.CRLDistributionPoints([place]), critical=False)
        if leaf:
            name = x509.RFC822Name("results@laboratory.example")
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return builder.sign(self._keys[above], hashes.SHA256()).public_bytes(Encoding.DER)


def believing(rounds: int, chains: int = CHAINS, entries: int = ENTRIES, turns: int = KNOWN_TURNS) -> Belief:
    """Measures ``rounds`` times: ``chains`` never seen, and one seen before ``turns`` times, whose issuer revoked ``entries``."""
    authority = Authority()
    known, anchors_of = authority.chain(entries), {each: Anchors(()) for each in Revocation}
    for revocation in anchors_of:
        anchors_of[revocation] = Anchors(known.path[:1])
        known.judged(anchors_of[revocation], revocation)
    large, leaf = authority.crl(1, range(1, entries + 1)), facts(known.path[-1])
    crl = Crl(large)
    found: dict[Work, list[float]] = {work: [] for work in Work}
    for _ in range(rounds):
        fresh = iter([authority.chain(10) for _ in range(chains)])
        found[Work.COLD].append(_cpu(lambda fresh=fresh: next(fresh).judged_cold(), chains))  # type: ignore[misc]
        found[Work.KNOWN].append(_cpu(lambda: known.judged(anchors_of[Revocation.HARD]), turns))
        found[Work.PATH].append(_cpu(lambda: known.judged(anchors_of[Revocation.UNSAFE_OFF], Revocation.UNSAFE_OFF), turns))
        found[Work.LOOK_UP].append(_cpu(lambda: crl.revoked_since(leaf), turns))
        found[Work.LOAD].append(_cpu(lambda: Crl(large), 1))
    return Belief({work: tuple(each) for work, each in found.items()}, entries)


def _cpu(work: Callable[[], object], turns: int) -> float:
    """CPU seconds of one turn."""
    begin = time.process_time()
    for _ in range(turns):
        work()
    return (time.process_time() - begin) / turns


def belief_lines(belief: Belief) -> list[str]:
    """The section of the page."""
    return [
        "## (g) Believing a certificate",
        "",
        "`judge` as the gateway calls it, revocation `hard`: root, issuing authority and signer, RSA-2048, each below the root",
        f"with a CRL; that of the issuing authority lists {belief.entries:,} certificates. What was seen before is the path alone:",
        "whether any of it is revoked is looked up each time.",
        *("", "| | CPU, microseconds | rounds |", "|---|---:|---|"),
        *(_row(work, belief) for work in Work),
    ]


def _row(work: Work, belief: Belief) -> str:
    def figures() -> Iterator[str]:
        for seconds in (belief.seconds(work), *belief.rounds[work]):
            yield f"{seconds * 1e6:,.1f}" if seconds < 100e-6 else f"{seconds * 1e6:,.0f}"

    median, *rounds = figures()
    return f"| {work} | {median} | {', '.join(rounds)} |"


def belief_goals(belief: Belief) -> list[Goal]:
    """What was asked of what was measured."""
    return [Goal(f"(g) {work}: under {mark * 1e6:,.0f} microseconds", belief.seconds(work) < mark) for work, mark in MARKS.items()]
