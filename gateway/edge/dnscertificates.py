"""Certificates that a domain publishes in DNS: SMIMEA (RFC 8162) and CERT (RFC 4398) records, as directories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdtypes.ANY.CERT
import dns.rdtypes.ANY.SMIMEA

from gateway.edge.dnslookup import Lookup, Question, Records
from gateway.mail.address import Address
from gateway.trust.certificate import ORGANISATION_NAMES
from gateway.trust.ladder import Way
from gateway.trust.smimea import Association, association, local_label
from gateway.trust.sources import DirectoryError, Found, WordUnknown, sort_found

REMEMBER_SECONDS: Final = 3600.0  # at most: a domain may ask for less
_PKIX: Final = 1  # RFC 4398 2.1
_ABOVE: Final = "a record above what is read"


class Smimea:
    """A :class:`gateway.trust.sources.Directory`. What is not validated by DNSSEC counts as nothing (RFC 8162 1)."""

    remember_seconds: float = REMEMBER_SECONDS

    def __init__(self, lookup: Lookup) -> None:
        self.name = lookup.name
        self._lookup = lookup

    async def find(self, address: Address) -> Found:
        """The certificates of ``address`` and of its domain's authority, and which others the domain would not stand for.

        Raises :class:`WordUnknown`.
        """
        locals_ = (address.local, *sorted(ORGANISATION_NAMES))
        questions = [Question(_name(f"{local_label(local)}._smimecert.{address.domain}"), "SMIMEA") for local in locals_]
        try:
            answers = await self._lookup.ask(address.domain, questions)
        except DirectoryError as error:
            raise WordUnknown(error.detail, resting=error.resting) from None
        return smimea_found(answers)


class Cert:
    """A :class:`gateway.trust.sources.Directory`."""

    remember_seconds: float = REMEMBER_SECONDS

    def __init__(self, lookup: Lookup) -> None:
        self.name = lookup.name
        self._lookup = lookup

    async def find(self, address: Address) -> Found:
        """The certificates under the names of ``address`` and under its domain's. Raises :class:`DirectoryError`."""
        answers = await self._lookup.ask(address.domain, [Question(name, "CERT") for name in cert_names(address)])
        return cert_found(answers, dnssec_required=self._lookup.settings.dnssec_required)


def smimea_found(answers: Sequence[Records]) -> Found:
    """What SMIMEA records hold, those of the address first: they alone say which of its certificates the domain stands for."""
    passed_over: Counter[str] = Counter()
    own, *others = [list(_associations(answer, passed_over)) for answer in answers]
    certificates = [each.certificate for associations in (own, *others) for each in associations]
    values = [each for each in certificates if each is not None]
    found = sort_found(values, _seconds(answers), tuple(own), _told(passed_over))
    return replace(found, for_domain=tuple(each for associations in others for each in associations), unread=_unread(passed_over))


def cert_found(answers: Sequence[Records], *, dnssec_required: bool) -> Found:
    """What CERT records hold. Where DNSSEC is required of them, nobody between can have changed it."""
    passed_over: Counter[str] = Counter()
    values = [value for answer in answers for value in _certificates(answer, dnssec_required, passed_over)]
    # The name of a mailbox may lie in a zone that was delegated to somebody else: his word, not the domain's
    way = Way.GUARDED if dnssec_required else Way.OPEN
    return replace(sort_found(values, _seconds(answers), (), _told(passed_over), way), unread=_unread(passed_over))


def cert_names(address: Address) -> list[dns.name.Name]:
    """Where CERT records for ``address`` stand: the local part as one label (RFC 4398 3.1, RFC 1035 8), the same with its dots
    between labels (as Direct's implementations write it), the domain (Direct's domain-bound certificates).
    """
    local = address.local.encode()
    spellings = dict.fromkeys([(local,), tuple(local.split(b"."))])
    domain = _name(address.domain)
    names: list[dns.name.Name] = []
    for labels in spellings:
        try:
            names.append(dns.name.Name((*labels, *domain.labels)))
        except dns.exception.DNSException:
            continue  # longer than a label or a name may be: nothing stands there
    return [*names, domain]


def _associations(answer: Records, passed_over: Counter[str]) -> Iterator[Association]:
    for record in _usable(answer, True, passed_over):
        if isinstance(record, dns.rdtypes.ANY.SMIMEA.SMIMEA):
            try:
                yield association(record.usage, record.selector, record.mtype, record.cert)
            except ValueError:
                passed_over["an SMIMEA record that cannot be used"] += 1


def _certificates(answer: Records, required: bool, passed_over: Counter[str]) -> Iterator[bytes]:
    for record in _usable(answer, required, passed_over):
        if isinstance(record, dns.rdtypes.ANY.CERT.CERT):
            if record.certificate_type == _PKIX:
                yield record.certificate
            else:
                passed_over["a CERT record of another type than PKIX"] += 1


def _usable(answer: Records, required: bool, passed_over: Counter[str]) -> tuple[dns.rdata.Rdata, ...]:
    """The records that may be looked at; of the others it is told that they were there."""
    if required and not answer.validated:
        passed_over["a record without DNSSEC"] += answer.total
        return ()
    passed_over[_ABOVE] += answer.total - len(answer.values)
    return answer.values


def _seconds(answers: Sequence[Records]) -> float:
    return min(answer.seconds for answer in answers)


def _told(passed_over: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{what} ({count})" for what, count in sorted((+passed_over).items()))


def _unread(passed_over: Counter[str]) -> tuple[str, ...]:
    return (_ABOVE,) if passed_over[_ABOVE] else ()


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text, dns.name.root)
