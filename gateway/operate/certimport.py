"""``cert import``: partners in bulk. Each certificate that is offered is told of: taken, there already, or passed over and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, Final

import apsw
import click

from gateway.config.load import load
from gateway.config.model import Config
from gateway.edge.clock import now
from gateway.mail.address import Address
from gateway.operate.acting import recorded
from gateway.operate.certstate import changed, keeping, named_organisation, unfit
from gateway.operate.output import Exit, Settings, answer, columns, command_options
from gateway.operate.partners import MAX_OFFERED, Offered, Partner, PassedOver, read_partners
from gateway.outcome import GatewayError, Reason
from gateway.state.byhand import put_in
from gateway.state.certificates import fingerprint
from gateway.state.state import STATE
from gateway.trust.certificate import ORGANISATION_NAMES, CertificateError, binds, facts
from gateway.trust.kept import KeptAs
from gateway.trust.name import NormalName
from gateway.trust.rules import MAX_DEPTH

Authorities = Mapping[NormalName, Sequence[bytes]]
"""Those offered, by their names."""


class Fate(StrEnum):
    """What becomes of a certificate that is offered, for one address."""

    TAKEN = "taken"
    PRESENT = "present"
    AUTHORITY = "authority"
    PASSED_OVER = "passed_over"


_WORDS: Final = {
    Fate.TAKEN: "taken",
    Fate.PRESENT: "already there",
    Fate.AUTHORITY: "an authority: goes with those below it",
    Fate.PASSED_OVER: "passed over",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the answer."""

    source: str
    fate: Fate
    address: Address | None = None
    certificate: bytes = b""
    reason: Reason | None = None
    detail: str = ""

    def facts(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return {
            "source": self.source,
            "outcome": str(self.fate),
            "address": None if self.address is None else str(self.address),
            "fingerprint": fingerprint(self.certificate).hex() if self.certificate else None,
            "reason": None if self.reason is None else str(self.reason),
            "detail": self.detail,
        }


class _Undone(Exception):
    """Nothing of it is to stay."""

    def __init__(self, told: list[Told]) -> None:
        super().__init__()
        self.told = told


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--organisation", help="For which one.  [default: the only one]")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and take nothing.")
@command_options
@click.pass_context
def import_(context: click.Context, settings: Settings, paths: tuple[Path, ...], organisation: str | None, dry_run: bool) -> None:
    """Keep the certificates of partners, for the addresses they name: all of them at once, or none where something fails.

    PATH is a folder, a PEM or DER file, a certs-only CMS message (.p7b), an LDIF file (.ldif), or a list (.csv) of addresses and
    files. Exit status 1 where something was passed over.
    """
    config = load(settings.config)
    of = named_organisation(config, organisation)
    offered = list(islice((each for path in paths for each in read_partners(path)), MAX_OFFERED + 1))
    if len(offered) > MAX_OFFERED:
        raise GatewayError(Reason.LIMIT, f"more than {MAX_OFFERED} certificates; give them in several turns")
    wanted = list(sort_out(offered, now()))
    done = _put_in(config, of, wanted, _authorities(wanted), dry_run)
    if not dry_run:
        with recorded(config, "cert") as see:
            for each in done:
                if each.fate is Fate.TAKEN:
                    see(changed(of, str(each.address), each.certificate, "import"))
    _say(settings, of, done, dry_run)
    if any(each.fate is Fate.PASSED_OVER for each in done):
        context.exit(Exit.NO)


def sort_out(offered: Iterable[Partner], at: int) -> Iterator[Told]:
    """What is to be taken, for which address, and what is passed over and why. ``at`` in microseconds UTC."""
    for each in offered:
        if isinstance(each, PassedOver):
            yield Told(each.source, Fate.PASSED_OVER, reason=each.reason, detail=each.detail)
        else:
            yield from _sorted(each, at)


def _sorted(offered: Offered, at: int) -> Iterator[Told]:
    source, certificate = offered.source, offered.certificate
    try:
        found = facts(certificate)
    except CertificateError as error:
        yield Told(source, Fate.PASSED_OVER, reason=error.reason, detail=error.detail)
        return
    if found.is_ca:
        yield Told(source, Fate.AUTHORITY, certificate=certificate, detail=found.subject)
        return
    why = unfit(certificate, at)
    if why is not None:
        yield Told(source, Fate.PASSED_OVER, certificate=certificate, reason=why[0], detail=why[1])
        return
    named = [email for email in found.emails if email.local.lower() not in ORGANISATION_NAMES]
    addresses = named if offered.addresses is None else [each for each in offered.addresses if binds(found, each)]
    if not addresses:
        detail = f"{found.subject}: names {'another address than is said' if named else 'no address'}"
        yield Told(source, Fate.PASSED_OVER, certificate=certificate, reason=Reason.ADDRESS_MISMATCH, detail=detail)
    for address in addresses:
        yield Told(source, Fate.TAKEN, address, certificate, detail=found.subject)


def _authorities(told: Iterable[Told]) -> Authorities:
    found: dict[NormalName, list[bytes]] = {}
    for each in told:
        if each.fate is Fate.AUTHORITY:
            found.setdefault(facts(each.certificate).subject_name, []).append(each.certificate)
    return found


def above(certificate: bytes, authorities: Authorities) -> tuple[bytes, ...]:
    """Those of ``authorities`` that by their names lie between ``certificate`` (DER) and the topmost, which is left out."""
    found: dict[bytes, None] = {}
    level = [certificate]
    while level and len(found) < MAX_DEPTH:
        issuers = [issuer for each in level for issuer in authorities.get(facts(each).issuer_name, ())]
        level = [each for each in issuers if each not in found and not facts(each).self_issued]
        found.update(dict.fromkeys(level))
    return tuple(found)[:MAX_DEPTH]


def _put_in(config: Config, organisation: str, wanted: list[Told], authorities: Authorities, dry_run: bool) -> list[Told]:
    at = now()

    def change(database: apsw.Connection) -> list[Told]:
        done = [_put(database, organisation, each, authorities, at) for each in wanted]
        if dry_run:
            raise _Undone(done)
        return done

    if dry_run and not (config.state / STATE).is_file():
        return wanted
    with keeping(config, making=True) as kept:
        try:
            return kept.change(change)
        except _Undone as undone:
            return undone.told


def _put(database: apsw.Connection, organisation: str, told: Told, authorities: Authorities, at: int) -> Told:
    if told.fate is not Fate.TAKEN or told.address is None:
        return told
    path = above(told.certificate, authorities)
    new = put_in(database, organisation, told.address, told.certificate, path, KeptAs.IMPORTED, at)
    return told if new else replace(told, fate=Fate.PRESENT)


def _say(settings: Settings, organisation: str, done: Sequence[Told], dry_run: bool) -> None:
    counts = {str(fate): sum(each.fate is fate for each in done) for fate in Fate}
    rows = [
        (each.source, each.address or "", _WORDS[each.fate], f"{each.reason}: {each.detail}" if each.reason else each.detail)
        for each in done
    ]
    summary = ", ".join(f"{count} {_WORDS[Fate(fate)].partition(':')[0]}" for fate, count in counts.items() if count)
    lines = [*columns(("SOURCE", "ADDRESS", "", "DETAIL"), rows), "", f"{'would be: ' if dry_run else ''}{summary or 'nothing'}"]
    data = {"organisation": organisation, "dry_run": dry_run, **counts, "certificates": [each.facts() for each in done]}
    answer(settings, data, lines)
