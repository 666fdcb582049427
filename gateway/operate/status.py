"""``status``: how the running gateway is."""

from __future__ import annotations

from typing import Any

import click

from gateway.edge.counting import control_socket
from gateway.operate.control import ask
from gateway.operate.inforce import in_force
from gateway.operate.output import Exit, Settings, answer, columns, command_options


@click.command()
@command_options
@click.pass_context
def status(context: click.Context, settings: Settings) -> None:
    """Say how the running gateway is: its configuration, its processes, the mails on their way, the certificates kept."""
    socket = control_socket(in_force(settings).run)
    try:
        told = ask(socket, {"verb": "status"})
    except (OSError, ValueError) as error:
        detail = f"{socket}: {getattr(error, 'strerror', None) or 'no sensible answer'}"
        gone = isinstance(error, FileNotFoundError | ConnectionRefusedError)
        line = f"not running: {detail}" if gone else f"it cannot be asked whether it runs: {detail}"
        answer(settings, {"running": False if gone else None, "detail": detail}, [line])
        context.exit(Exit.UNAVAILABLE)
    answer(settings, {"running": True, **told}, _lines(told))


def _lines(told: dict[str, Any]) -> list[str]:
    return [
        f"running, configuration {told['generation']}",
        "",
        *columns(("MAILS", "COUNT"), told["spool"].items()),
        "",
        *columns(("CERTIFICATES", "COUNT"), told["certificates"].items()),
        "",
        *columns(("PROCESS", "LAST SEEN"), ((name, _seen(each["seen_seconds"])) for name, each in told["processes"].items())),
    ]


def _seen(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds} s ago"
