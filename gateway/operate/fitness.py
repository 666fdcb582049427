"""Whether certificates that were given by hand may be used for a message: by themselves, on whose word, and for whom they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.flow.copies import named_in
from gateway.mail.address import Address, parse_address
from gateway.mail.message import Header, from_address
from gateway.operate.given import GivenKey
from gateway.outcome import GatewayError, Reason
from gateway.smime.certificate import encryption_key
from gateway.smime.mechanisms import mechanisms_of
from gateway.trust.along import Along
from gateway.trust.certificate import binds, facts
from gateway.trust.given import GivenTrust
from gateway.trust.judgement import Distrusted, Purpose
from gateway.trust.suitability import unusable


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a certificate may not be used; ``subject`` None where there is none for somebody. ``detail`` is for whoever gave it."""

    subject: str | None
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class People:
    """Whom a message is between. ``author``: None where it has none, or why that is not clear. ``told``: of its readers, those who
    were not read from it, and who each need a certificate.
    """

    author: Address | GatewayError | None
    readers: tuple[Address, ...]
    told: tuple[Address, ...]


def people_of(header: Header, sender: Address | None, recipients: Sequence[Address]) -> People:
    """The ``sender``, else the From, where there is one; the ``recipients``, else who stands in To and Cc."""
    author: Address | GatewayError | None = sender
    if sender is None and header.all("From"):
        try:
            author = from_address(header)
        except GatewayError as error:
            author = error
    named = tuple(recipients) or tuple(parse_address(each) for each in sorted(named_in(header)))
    return People(author, named, tuple(recipients))


def doubts_about(
    signer: GivenKey | None, readers: Sequence[Sequence[bytes]], people: People, trust: GivenTrust | None, at: int
) -> list[Doubt]:
    """What speaks against signing by ``signer`` and encrypting to ``readers`` at ``at`` (microseconds UTC).

    Of each reader, certificates (DER): his own, then those that lead from it to an anchor. ``trust`` None: nobody is asked on
    whose word; what a certificate says of itself holds all the same.
    """
    doubts: list[Doubt | None] = []
    if signer is not None:
        own, *above = signer.certificates
        doubts.append(_unusable(own, above, Purpose.SMIME_SIGNER, mechanisms_of, trust, at) or _not_the_author(own, people))
    doubts += [
        _unusable(own, above, Purpose.SMIME_RECIPIENT, encryption_key, trust, at) or _no_reader(own, people)
        for own, *above in readers
    ]
    if readers:
        doubts += [_nothing_for(each) for each in people.told if not any(_speaks_for(own, each) for own, *_ in readers)]
    return [doubt for doubt in doubts if doubt is not None]


def _unusable(
    certificate: bytes, above: Sequence[bytes], purpose: Purpose, use: Callable[[bytes], object], trust: GivenTrust | None, at: int
) -> Doubt | None:
    leaf = facts(certificate)
    answer = unusable(leaf, purpose, at)
    if answer is None:
        try:
            use(certificate)
        except GatewayError as error:
            return Doubt(leaf.subject, error.reason, f"{leaf.subject}: {error.detail}")
        if trust is None:
            return None
        judged = trust.judge(certificate, Along(tuple(above)), purpose, at)
        answer = judged if isinstance(judged, Distrusted) else None
    return None if answer is None else Doubt(leaf.subject, answer.reason, answer.detail)


def _not_the_author(certificate: bytes, people: People) -> Doubt | None:
    author, subject = people.author, facts(certificate).subject
    if isinstance(author, GatewayError):
        return Doubt(subject, author.reason, author.detail)
    if author is None or _speaks_for(certificate, author):
        return None
    return Doubt(subject, Reason.FROM_MISMATCH, f"{subject}: does not name {author}, who writes")


def _no_reader(certificate: bytes, people: People) -> Doubt | None:
    """An author may read what he writes."""
    may_read = (*people.readers, people.author) if isinstance(people.author, Address) else people.readers
    if not people.readers or any(_speaks_for(certificate, each) for each in may_read):
        return None
    subject = facts(certificate).subject
    return Doubt(subject, Reason.ADDRESS_MISMATCH, f"{subject}: names none of {', '.join(map(str, people.readers))}")


def _nothing_for(reader: Address) -> Doubt:
    return Doubt(None, Reason.NO_CERTIFICATE, f"{reader}: none of the certificates is for this address")


def _speaks_for(certificate: bytes, address: Address) -> bool:
    """Its own, or that of its domain: whoever gives the certificate of a domain by hand binds it."""
    return binds(facts(certificate), address, (address.domain,)) is not None
