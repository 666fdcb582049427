"""``cert``: certificates of correspondents. What is changed here counts in the running gateway within a minute."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import click

from gateway.config.load import load
from gateway.edge.clock import now
from gateway.mail.address import Address
from gateway.operate.acting import recorded
from gateway.operate.certfind import find
from gateway.operate.certimport import import_
from gateway.operate.certstate import among, as_fingerprint, changed, keeping, named_organisation, told, unfit
from gateway.operate.explain import as_address
from gateway.operate.given import GivenError, read_given
from gateway.operate.output import Exit, Settings, answer, columns, command_options
from gateway.state.byhand import Entry, approve, entries, forget, put_in
from gateway.state.certificates import fingerprint
from gateway.trust.kept import KeptAs

_organisation = click.option("--organisation", help="For which one.  [default: the only one]")
_address = click.argument("address", callback=as_address)
_fingerprint = click.argument("fingerprint", required=False)


@click.group()
def cert() -> None:
    """Certificates of correspondents: found, and kept here, whether pinned, imported or harvested from verified mail."""


cert.add_command(find)
cert.add_command(import_)


@cert.command("list")
@click.argument("address", required=False, callback=as_address)
@click.option("--kept-as", type=click.Choice([each.value for each in KeptAs]), help="Only those kept so.")
@click.option("--organisation", help="Only those of this one.")
@command_options
def list_(settings: Settings, address: Address | None, kept_as: str | None, organisation: str | None) -> None:
    """List what is kept, and what waits to be approved."""
    config = load(settings.config)
    of = None if organisation is None else named_organisation(config, organisation)
    kind = None if kept_as is None else KeptAs(kept_as)
    with keeping(config) as kept:
        found = [told(each) for each in kept.read(lambda database: entries(database, of, address, kind))]
    table = [
        (each["address"], each["kept_as"], each["since"][:10], each["not_after"][:10], each["fingerprint"][:16], each["subject"])
        for each in found
    ]
    titles = ("ADDRESS", "KEPT AS", "SINCE", "EXPIRES", "FINGERPRINT", "SUBJECT")
    answer(settings, {"certificates": found}, columns(titles, table))


@cert.command()
@_address
@click.argument("certificate", metavar="FILE|FINGERPRINT")
@_organisation
@command_options
@click.pass_context
def pin(context: click.Context, settings: Settings, address: Address, certificate: str, organisation: str | None) -> None:
    """Bind a certificate to an address by your own word: from FILE (PEM or DER), or one that is kept by its FINGERPRINT.

    It need not name the address, nor lead to an anchor. Further certificates in FILE are kept as those above it.
    """
    config = load(settings.config)
    of = named_organisation(config, organisation)
    with keeping(config, making=True) as kept:
        value, *above = _given(kept.read(lambda database: entries(database, of, address)), certificate)
        why = unfit(value, now())
        if why is not None:
            refused = {"pinned": False, "reason": str(why[0]), "detail": why[1]}
            answer(settings, refused, [f"not pinned: {why[0]}: {why[1]}"])
            context.exit(Exit.NO)
        change = partial(put_in, organisation=of, address=address, certificate=value, above=above, kept_as=KeptAs.PINNED, now=now())
        new = kept.change(change)
    if new:
        with recorded(config, "cert") as see:
            see(changed(of, str(address), value, "pin"))
    print_ = fingerprint(value).hex()
    data = {"pinned": True, "new": new, "organisation": of, "address": str(address), "fingerprint": print_}
    answer(settings, data, [f"{address}: {print_} {'pinned' if new else 'was pinned already'}"])


def _given(known: list[Entry], text: str) -> tuple[bytes, ...]:
    """The certificate that is meant, and those above it (DER)."""
    if not Path(text).exists() and as_fingerprint(text) is not None:
        found = among(known, text)
        if not found:
            raise click.BadParameter(f"nothing with the fingerprint {text} is kept for this address; `cert list` shows what is")
        return found[0].kept.certificate, *found[0].kept.above
    try:
        return read_given(Path(text))
    except GivenError as error:
        raise click.BadParameter(str(error)) from error


@cert.command("approve")
@_address
@_fingerprint
@_organisation
@command_options
@click.pass_context
def approve_(
    context: click.Context, settings: Settings, address: Address, fingerprint: str | None, organisation: str | None
) -> None:
    """Let a certificate be used that waits because it is another than those the address had before.

    One harvested before that names another organisation is forgotten: of the two neither would be taken.
    """
    config = load(settings.config)
    of = named_organisation(config, organisation)
    with keeping(config) as kept:
        waiting = among(kept.read(lambda database: entries(database, of, address, KeptAs.WAITING)), fingerprint)
        if len(waiting) > 1:
            raise click.BadParameter(f"{len(waiting)} wait for {address}: give the FINGERPRINT; `cert list` shows them")
        gone = [kept.change(partial(approve, entry=each, now=now())) for each in waiting]
    done = {
        "approved": [each for each, rivals in zip(waiting, gone, strict=True) if rivals is not None],
        "forgotten": [rival for rivals in gone for rival in rivals or ()],
    }
    _say(context, settings, address, of, done)


@cert.command("forget")
@_address
@_fingerprint
@_organisation
@command_options
@click.pass_context
def forget_(
    context: click.Context, settings: Settings, address: Address, fingerprint: str | None, organisation: str | None
) -> None:
    """Let go of one certificate of an address, or of all of them. A mail signed before does not teach them again."""
    config = load(settings.config)
    of = named_organisation(config, organisation)
    with keeping(config) as kept:
        meant = among(kept.read(lambda database: entries(database, of, address)), fingerprint)
        done = [each for each in meant if kept.change(partial(forget, entry=each, now=now()))]
    _say(context, settings, address, of, {"forgotten": done})


_OPERATIONS: Final = {"approved": "approve", "forgotten": "forget"}


def _say(context: click.Context, settings: Settings, address: Address, of: str, done: dict[str, list[Entry]]) -> None:
    """What was done, first what was asked for, to the audit and to whoever asked."""
    if any(done.values()):
        with recorded(load(settings.config), "cert") as see:
            for word, some in done.items():
                for each in some:
                    see(changed(of, str(address), each.kept.certificate, _OPERATIONS[word]))
    prints = {word: [fingerprint(each.kept.certificate).hex() for each in some] for word, some in done.items()}
    asked = next(iter(done))
    lines = [f"{address}: {each} {word}" for word, some in prints.items() for each in some]
    answer(settings, {"organisation": of, "address": str(address), **prints}, lines or [f"{address}: nothing to be {asked}"])
    if not done[asked]:
        context.exit(Exit.NO)
