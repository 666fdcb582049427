"""What speaks against our own certificates: what those who are shown them would find, said before they do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.config.kinds import contents, first_certificate
from gateway.config.model import Config, KeyPurpose
from gateway.outcome import GatewayError
from gateway.trust.certificate import facts
from gateway.trust.judgement import Purpose
from gateway.trust.suitability import outside, unusable

DAY: Final = 86_400 * 1_000_000
WARN_DAYS: Final = 30

_MAIL: Final = {KeyPurpose.SIGN: Purpose.SMIME_SIGNER, KeyPurpose.DECRYPT: Purpose.SMIME_RECIPIENT}


def expiries(config: Config) -> dict[str, int]:
    """When each certificate of ours expires (microseconds UTC), by its section; not of keys that are retired, nor of one that
    cannot be read now.
    """
    found = {}
    for section, name, path, _ in _ours(config):
        with contextlib.suppress(OSError, ValueError, GatewayError):
            found[f"{section}.{name}"] = facts(contents(path, first_certificate)).not_after
    return found


def own_notes(config: Config, at: int) -> Iterator[str]:
    """Of keys that are not retired, and of TLS. ``at`` in microseconds UTC."""
    for section, name, path, purposes in _ours(config):
        yield from _about(f"{section} {name}", path, purposes, at)


def _ours(config: Config) -> Iterator[tuple[str, str, Path, tuple[Purpose, ...]]]:
    """Section and name of each certificate of ours, where it lies, and what it is shown for."""
    for name, key in config.key.items():
        if key.certificate is not None and not key.retired:
            yield "key", name, key.certificate, (_MAIL[key.purpose],)
    for name, identity in config.tls.items():
        yield "tls", name, identity.certificate, tuple(_to_peers(config, name))


def _to_peers(config: Config, identity: str) -> Iterator[Purpose]:
    """As what peers are shown an identity. Who else is shown one has rules of his own."""
    if any(zone.identity == identity for zone in config.zone.values()):
        yield Purpose.GATEWAY_CLIENT
    if any(listener.identity == identity and listener.zone is not None for listener in config.listener.values()):
        yield Purpose.GATEWAY_SERVER


def _about(who: str, path: Path, purposes: tuple[Purpose, ...], at: int) -> Iterator[str]:
    certificate = facts(contents(path, first_certificate))
    answers = [unusable(certificate, purpose, at) for purpose in purposes] or [outside(certificate, at)]
    found = {f"{who}: {answer.reason}: {answer.detail}" for answer in answers if answer is not None}
    yield from sorted(found)
    left = certificate.not_after - at
    if not found and left < WARN_DAYS * DAY:
        yield f"{who}: its certificate expires in {left // DAY} days"
