"""Who besides its recipients can read what leaves encrypted: the organisation's archive, and the sender himself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.config.model import Config
from gateway.mail.message import Header
from gateway.outcome import GatewayError, Reason
from gateway.policy import opening_key
from gateway.smime.certificate import encryption_key
from gateway.smime.recipients import Reader
from gateway.trust.certificate import facts
from gateway.trust.judgement import Distrusted, Purpose
from gateway.trust.suitability import unusable


@dataclass(frozen=True, slots=True)
class Besides:
    """One of them. ``name`` is for the audit."""

    name: str
    reader: Reader


def besides(
    config: Config,
    organisation: str,
    header: Header,
    archive: Sequence[Besides],
    certificates: Mapping[str, Sequence[bytes]],
    at: int,
) -> tuple[Besides, ...]:
    """All of them. ``archive`` is what the configuration names, ``certificates`` are those of our keys by key name (DER,
    the key's own first); ``at`` is in microseconds UTC.

    Raises :class:`GatewayError` (KEY_UNAVAILABLE) where one of them cannot be encrypted to now: what the archive could not read
    does not leave. We read by them ourselves, so that nothing need be known of their programs.
    """
    to_sender = config.organisation[organisation].to_sender
    asked = (*archive, *(_sender(config, organisation, header, certificates) if to_sender else ()))
    for each in asked:
        _require(each, at)
    return asked


def _sender(config: Config, organisation: str, header: Header, certificates: Mapping[str, Sequence[bytes]]) -> Iterator[Besides]:
    """The certificate of our key that opens mail for the From."""
    name = opening_key(config, organisation, header)
    if name is None or not certificates.get(name):
        raise GatewayError(Reason.KEY_UNAVAILABLE, f"to_sender: {organisation} has no key that opens mail for its senders")
    yield Besides(f"key {name}", Reader(certificates[name][0], config.organisation[organisation].floor.transport))


def _require(asked: Besides, at: int) -> None:
    certificate = asked.reader.certificate
    try:
        encryption_key(certificate)
        doubt = unusable(facts(certificate), Purpose.SMIME_RECIPIENT, at)
    except GatewayError as error:
        doubt = Distrusted(error.reason, error.detail)
    if doubt is not None:
        raise GatewayError(Reason.KEY_UNAVAILABLE, f"{asked.name}: {doubt.detail}")
