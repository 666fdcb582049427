"""``queue``: mails on their way. Shows envelopes and reasons, never a subject or a body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click

from gateway.config.model import Config
from gateway.edge.clock import now
from gateway.edge.observe import rfc3339
from gateway.events import MailDropped, MailReleased
from gateway.mail.identifier import MailId, is_mail_id
from gateway.operate.acting import recorded, who
from gateway.operate.inforce import in_force
from gateway.operate.output import Exit, Settings, answer, columns, command_options
from gateway.outcome import REASONS, GatewayError, Reason
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.store import Row, State, Unreadable

T = TypeVar("T")


def _with_spool(config: Config, work: Callable[[SqliteSpool], Awaitable[T]]) -> T:
    """What ``work`` answers about the spool of this configuration, whether or not the gateway runs."""

    async def run() -> T:
        if not (config.state / "spool.sqlite").is_file():  # opening would make one, and perhaps as the wrong user
            raise GatewayError(Reason.SPOOL_UNAVAILABLE, f"there is no spool in {config.state}: the gateway has never run")
        spool = SqliteSpool(config.state, now=now)
        await spool.open()
        try:
            return await work(spool)
        finally:
            await spool.close()

    return asyncio.run(run())


def _identifier(context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Identifiers, in the letters they are written in."""
    texts = (value,) if isinstance(value, str) else value
    for text in texts:
        if not is_mail_id(text.upper()):
            raise click.BadParameter(f"{text!r} is no identifier of a mail; `queue list` shows them", context, parameter)
    upper = tuple(text.upper() for text in texts)
    return upper[0] if isinstance(value, str) else upper


_one = click.argument("mail", callback=_identifier)
_several = click.argument("mails", metavar="MAIL...", nargs=-1, required=True, callback=_identifier)


def facts(row: Row | Unreadable) -> dict[str, Any]:
    """A row as ``--json`` shows it. Times are RFC 3339 UTC, ``size`` bytes. Little is known of one that is ``unreadable``."""
    if isinstance(row, Unreadable):
        return {
            "mail": row.mail,
            "organisation": row.organisation,
            "state": str(row.state),
            "unreadable": True,
            "detail": row.detail,
        }
    mail, arrival = row.mail, row.mail.arrival
    return {
        "mail": arrival.mail,
        "parent": arrival.parent,
        "organisation": arrival.organisation,
        "direction": str(arrival.direction),
        "state": str(row.state),
        "stage": str(mail.stage),
        "priority": mail.priority.name.lower(),
        "arrived": rfc3339(arrival.at),
        "from": "<>" if mail.envelope.sender is None else str(mail.envelope.sender),
        "to": [str(recipient.address) for recipient in mail.envelope.recipients],
        "size": mail.body.size,
        "hop": None if mail.hop is None else str(mail.hop),
        "client": arrival.client,
        "zone": arrival.zone,
        "peer": arrival.peer,
        "attempts": row.attempts,
        "next": rfc3339(row.next_at) if row.state is State.WAITING else None,
        "reason": None if row.reason is None else str(row.reason),
        "detail": row.detail,
    }


@click.group()
def queue() -> None:
    """Mails on their way: those that wait, are held, or broke."""


@queue.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only mails in this state.")
@command_options
def list_(settings: Settings, state: str | None) -> None:
    """List mails, the oldest first."""
    config = in_force(settings)
    wanted = None if state is None else State(state)
    rows = [facts(row) for row in _with_spool(config, lambda spool: spool.rows(wanted))]
    table = [_line(row) for row in rows]
    answer(settings, {"mails": rows}, columns(("MAIL", "ARRIVED", "STATE", "TRIES", "REASON", "FROM", "TO"), table))


def _line(told: dict[str, Any]) -> tuple[object, ...]:
    if "unreadable" in told:
        return (told["mail"], "", told["state"], "", f"unreadable: {told['detail']}", "", "")
    shown = (told["attempts"], told["reason"] or "", told["from"], _plain(told["to"]))
    return (told["mail"], told["arrived"][:19], told["state"], *shown)


@queue.command()
@_one
@command_options
@click.pass_context
def show(context: click.Context, settings: Settings, mail: str) -> None:
    """Show what is known of one mail, but for its content."""
    row = _row(context, settings, mail)
    told = facts(row)
    answer(settings, told, columns(("", ""), ((key, _plain(value)) for key, value in told.items()))[1:])


@queue.command()
@_one
@command_options
@click.pass_context
def why(context: click.Context, settings: Settings, mail: str) -> None:
    """Say why one mail is still here, and who can do what about it."""
    row = _row(context, settings, mail)
    told, lines = facts(row), [f"{mail} is {row.state}"]
    if isinstance(row, Unreadable):
        lines += [f"detail   its row cannot be read: {row.detail}"]
        lines += ["who      operations: report it, and release the mail after an update; or drop it"]
        answer(settings, told, lines)
        return
    if row.reason is not None:
        explanation = REASONS[row.reason]
        told |= {"public": explanation.public, "owner": explanation.owner, "next_step": explanation.next_step}
        lines += [f"reason   {row.reason}: {explanation.public}", f"who      {explanation.owner}: {explanation.next_step}"]
    lines += [f"detail   {row.detail}"] if row.detail else []
    lines += [f"next     {told['next']}, after {row.attempts} tries"] if row.state is State.WAITING else []
    answer(settings, told, lines)


@queue.command()
@_several
@command_options
@click.pass_context
def release(context: click.Context, settings: Settings, mails: tuple[str, ...]) -> None:
    """Let mails go on, now: those that are held or broke, and those that wait for their next try."""

    async def change(spool: SqliteSpool, mail: MailId) -> bool:
        return await spool.release(mail)

    _change(context, settings, mails, "released", change)


@queue.command()
@_several
@click.option("--yes", is_flag=True, help="Do not ask first.")
@command_options
@click.pass_context
def drop(context: click.Context, settings: Settings, mails: tuple[str, ...], yes: bool) -> None:
    """Delete mails for good. Nobody is told."""
    if not yes:
        click.confirm(f"Delete {len(mails)} mail(s) for good, without a report to anybody?", abort=True, err=True)

    async def change(spool: SqliteSpool, mail: MailId) -> bool:
        return await spool.drop(mail)

    _change(context, settings, mails, "dropped", change)


def _change(
    context: click.Context,
    settings: Settings,
    mails: tuple[str, ...],
    done: str,
    change: Callable[[SqliteSpool, MailId], Awaitable[bool]],
) -> None:
    config = in_force(settings)
    event = MailReleased if done == "released" else MailDropped

    async def work(spool: SqliteSpool) -> dict[str, bool]:
        changed: dict[str, bool] = {}
        with recorded(config, "queue") as see:
            for mail in map(MailId, mails):
                row = await spool.row(mail)
                changed[mail] = row is not None and await change(spool, mail)
                if row is not None and changed[mail]:
                    org = row.organisation if isinstance(row, Unreadable) else row.mail.arrival.organisation
                    see(event(org=org, mail=mail, who=who()))
        return changed

    changed = _with_spool(config, work)
    missed = [mail for mail, ok in changed.items() if not ok]
    lines = [f"{mail}: {done}" for mail in changed if mail not in missed]
    lines += [f"{mail}: no such mail, or a worker has it in hand" for mail in missed]
    answer(settings, {done: [mail for mail in changed if mail not in missed], "not_found": missed}, lines)
    if missed:
        context.exit(Exit.NO)


def _row(context: click.Context, settings: Settings, mail: str) -> Row | Unreadable:
    async def look(spool: SqliteSpool) -> tuple[Row | Unreadable | None, list[MailId]]:
        row = await spool.row(MailId(mail))
        return row, [] if row is not None else _copies(await spool.rows(), MailId(mail))

    config = in_force(settings)
    row, copies = _with_spool(config, look)
    if row is None:
        told: dict[str, Any] = {"mail": mail, "error": "not found"}
        if copies:
            line = f"{mail}: no such mail any more; of it there are still: {', '.join(copies)}"
            answer(settings, told | {"copies": copies}, [line])
        else:
            line = f"{mail}: no such mail; it is done, or never was here: see its lines in {config.state / 'audit'}"
            answer(settings, told, [line])
        context.exit(Exit.NO)
    return row


def _copies(rows: Sequence[Row | Unreadable], mail: MailId) -> list[MailId]:
    """What was made of a mail whose own row is gone: whoever brought it knows no identifier but that one."""
    return [row.mail.arrival.mail for row in rows if isinstance(row, Row) and row.mail.arrival.parent == mail]


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
