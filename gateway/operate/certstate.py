"""What the ``cert`` commands share: the database of what is kept, and how people name organisations and certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from gateway.config.model import Config
from gateway.edge.clock import now
from gateway.edge.observe import rfc3339
from gateway.events import CertificateChanged
from gateway.operate.acting import who
from gateway.outcome import GatewayError, Reason
from gateway.smime.certificate import encryption_key
from gateway.state.byhand import Entry
from gateway.state.certificates import fingerprint
from gateway.state.state import STATE, Opened, opened
from gateway.trust.certificate import facts
from gateway.trust.judgement import Purpose
from gateway.trust.suitability import outside, unsuitable

MIN_FINGERPRINT: Final = 8
"""Hexadecimal digits of a SHA-256, from its start, by which a certificate may be named."""


@contextmanager
def keeping(config: Config, *, making: bool = False) -> Iterator[Opened]:
    """What is kept, whether or not the gateway runs. ``making``: begin it, if it is not there and the directory is this user's.

    Raises :class:`GatewayError` (SPOOL_UNAVAILABLE).
    """
    if not (config.state / STATE).is_file() and not (making and _ours(config.state)):
        detail = f"there is no {STATE} in {config.state}: the gateway has never run"
        raise GatewayError(Reason.SPOOL_UNAVAILABLE, f"{detail}; run this as the user of that directory" if making else detail)
    with opened(config.state, now) as kept:
        yield kept


def _ours(folder: Path) -> bool:
    """What another user made there, the gateway could not open."""
    return folder.is_dir() and folder.stat().st_uid == os.geteuid()


def named_organisation(config: Config, name: str | None) -> str:
    """The organisation that is meant. Raises :class:`click.BadParameter`."""
    known = ", ".join(config.organisation)
    if name is None and len(config.organisation) > 1:
        raise click.BadParameter(f"there are several organisations, name one: {known}", param_hint="--organisation")
    if name is not None and name not in config.organisation:
        raise click.BadParameter(f"no organisation {name!r}; there are: {known}", param_hint="--organisation")
    return name or next(iter(config.organisation))


def as_fingerprint(text: str) -> str | None:
    """``text`` as the beginning of a SHA-256 in hexadecimal, colons left out; None where it is none."""
    digits = text.replace(":", "").lower()
    return digits if MIN_FINGERPRINT <= len(digits) <= 64 and set(digits) <= set("0123456789abcdef") else None


def among(entries: Sequence[Entry], text: str | None) -> list[Entry]:
    """Those of ``entries`` that ``text`` names by fingerprint; all where it is None. Raises :class:`click.BadParameter`."""
    if text is None:
        return list(entries)
    digits = as_fingerprint(text)
    if digits is None:
        raise click.BadParameter(f"{text!r} is no SHA-256 fingerprint, nor {MIN_FINGERPRINT} digits of one")
    found = [each for each in entries if fingerprint(each.kept.certificate).hex().startswith(digits)]
    if len({each.kept.certificate for each in found}) > 1:
        raise click.BadParameter(f"several fingerprints begin with {text!r}")
    return found


def unfit(certificate: bytes, at: int) -> tuple[Reason, str] | None:
    """By which rule nobody could ever be encrypted to with ``certificate`` (DER), and the detail; None where it can be used.

    ``at`` in microseconds UTC. One whose time has not come yet may wait for it here.
    """
    try:
        found = facts(certificate)
        encryption_key(certificate)
    except GatewayError as error:
        return error.reason, error.detail
    why = unsuitable(found, Purpose.SMIME_RECIPIENT, at) or outside(found, at)
    return None if why is None or why.reason is Reason.NOT_YET_VALID else (why.reason, why.detail)


def told(entry: Entry) -> dict[str, Any]:
    """An entry as ``--json`` shows it."""
    found = facts(entry.kept.certificate)
    return {
        "organisation": entry.organisation,
        "address": entry.address,
        "kept_as": str(entry.kept.kept_as),
        "since": rfc3339(entry.kept.since),
        "seen": rfc3339(entry.seen_at),
        "zone": entry.zone,
        "fingerprint": found.sha256.hex(),
        "subject": found.subject,
        "issuer": found.issuer,
        "serial": f"{found.serial:X}",
        "not_before": rfc3339(found.not_before),
        "not_after": rfc3339(found.not_after),
        "above": len(entry.kept.above),
    }


def changed(organisation: str, address: str, certificate: bytes, operation: str) -> CertificateChanged:
    """What the audit has of it."""
    return CertificateChanged(
        org=organisation,
        address=address,
        fingerprint=fingerprint(certificate).hex(),
        operation=operation,
        who=who(),
        uid=os.getuid(),
    )
