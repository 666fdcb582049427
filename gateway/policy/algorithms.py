"""How one reader is encrypted to: by what an administrator knows of him, else by what his program says, else by the default.

Pure. Who says that he opens little gets the default and nothing weaker; who opens less than the organisation asks for gets nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.config.encryption import CIPHERS, TRANSPORTS, Floor, Opens
from gateway.config.model import Config
from gateway.mail.address import Address
from gateway.outcome import GatewayError, Reason
from gateway.policy.rules import matches
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.capabilities import Capabilities, certificate_capabilities
from gateway.smime.certificate import encryption_key
from gateway.smime.recipients import Reader

_Choice = TypeVar("_Choice", ContentCipher, KeyTransport)


class Why(StrEnum):
    """Why an algorithm was chosen. KEY: the reader's key leaves no choice."""

    OVERRIDE = "override"
    ADVERTISED = "advertised"
    CERTIFICATE = "certificate"
    KEY = "key"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Chosen:
    """``transport`` is None for a key that agrees on a key (ECDH)."""

    cipher: ContentCipher
    cipher_why: Why
    transport: KeyTransport | None
    transport_why: Why

    @property
    def key(self) -> str:
        """How the content-encryption key goes to the reader, in a word."""
        return self.transport or "ecdh"

    def reader(self, certificate: bytes) -> Reader:
        """Whoever has ``certificate`` (DER), encrypted to so."""
        return Reader(certificate) if self.transport is None else Reader(certificate, self.transport)

    @property
    def told(self) -> str:
        """All of it for people, each algorithm with its reason."""
        return f"{self.cipher} ({self.cipher_why}), {self.key} ({self.transport_why})"


def choose(config: Config, organisation: str, address: Address, certificate: bytes, announced: Capabilities | None) -> Chosen:
    """How ``address`` is encrypted to by ``certificate`` (DER). ``announced``: what its program said last, None if nothing.

    Raises :class:`GatewayError`: WEAK_ALGORITHM for a reader known to open less than the floor of ``organisation``; for a key
    that we do not encrypt to, as :func:`gateway.smime.certificate.encryption_key`.
    """
    return best(certificate, tuple(_told(config, organisation, address)), announced, config.organisation[organisation].floor)


def best(certificate: bytes, told: Sequence[Opens], announced: Capabilities | None, floor: Floor) -> Chosen:
    """As :func:`choose`; ``told`` is what administrators know of the reader, and comes first."""
    said = [
        (why, each)
        for why, each in ((Why.ADVERTISED, announced), (Why.CERTIFICATE, certificate_capabilities(certificate)))
        if each is not None
    ]
    ciphers = [(why, each.ciphers) for why, each in said]
    cipher, why = _pick(CIPHERS, [each.cipher for each in told], ciphers, floor.cipher)
    if not isinstance(encryption_key(certificate), rsa.RSAPublicKey):
        return Chosen(cipher, why, None, Why.KEY)
    transports = [(why, each.transports) for why, each in said]
    transport, by = _pick(TRANSPORTS, [each.transport for each in told], transports, floor.transport)
    return Chosen(cipher, why, transport, by)


def _told(config: Config, organisation: str, address: Address) -> Iterator[Opens]:
    """What administrators know of the reader: of his address, then of his zone peer."""
    for reader in config.organisation[organisation].reader:
        if any(matches(pattern, address) for pattern in reader.recipient):
            yield reader.opens
    if address.domain in config.peer_opens:
        yield config.peer_opens[address.domain]


def _pick(
    weakest_first: Sequence[_Choice],
    told: Sequence[_Choice | None],
    said: Sequence[tuple[Why, frozenset[_Choice] | None]],
    least: _Choice,
) -> tuple[_Choice, Why]:
    """The best that the reader opens. Raises :class:`GatewayError` (WEAK_ALGORITHM) where that is less than ``least``."""
    chosen, why = _known(weakest_first, told, said) or (least, Why.DEFAULT)
    if weakest_first.index(chosen) < weakest_first.index(least):
        raise GatewayError(Reason.WEAK_ALGORITHM, f"opens no better than {chosen} ({why}), and the floor is {least}")
    return chosen, why


def _known(
    weakest_first: Sequence[_Choice], told: Sequence[_Choice | None], said: Sequence[tuple[Why, frozenset[_Choice] | None]]
) -> tuple[_Choice, Why] | None:
    """By the first that says something. RFC 8551 2.7.1 has us take the first of a list that we know; the best is worth more."""
    for known in told:
        if known is not None:
            return known, Why.OVERRIDE
    for why, opens in said:
        if opens is not None:
            best_last = [each for each in weakest_first if each in opens]
            return (best_last[-1], why) if best_last else (weakest_first[0], Why.DEFAULT)
    return None
