"""``smime-gateway run``: the supervisor in the foreground, for systemd, a container, or a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Final

import click

from gateway.config.load import load
from gateway.config.part import Part, WrongUser, part_of
from gateway.edge.clock import now
from gateway.edge.counting import CounterReports, control_socket
from gateway.edge.observe import Audit, Observe, configure_logging
from gateway.edge.ownmemory import keep_to_ourselves
from gateway.operate.output import Exit, Settings, command_options
from gateway.supervise import Child, StartFailed, Supervisor, state_of


def entry(child: Child, run_directory: Path) -> list[str]:
    """How a child process is started. Nothing secret is in it: every user of the machine may read a command line."""
    return [sys.executable, "-m", "gateway.operate.process", child.kind, str(child.index), str(run_directory)]


_READY: Final = {
    Part.WHOLE: "smime-gateway is ready",
    Part.KEYS: "smime-gateway is ready: its key agents",
    Part.MAIL: "smime-gateway is ready: all but the key agents",
}


def tell_ready(part: Part) -> None:
    """Say so on standard output, and to systemd where it listens (sd_notify(3))."""
    click.echo(_READY[part])
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        name = "\0" + address[1:] if address.startswith("@") else address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", name)


@click.command()
@command_options
def run(settings: Settings) -> None:
    """Run the gateway until SIGTERM. SIGHUP takes the configuration anew; so does a changed file.

    With an [agents] section, its one user runs the key agents and its other user everything else.
    """
    config = load(settings.config)
    try:
        part = part_of(config, os.geteuid())
    except WrongUser as error:
        raise click.UsageError(str(error)) from error
    if part is not Part.KEYS:
        for identity in config.tls.values():
            identity.key.open("rb").close()  # loading it let it pass, for the key agents' sake
    keep_to_ourselves()  # the variables that hold a PIN reach us first
    configure_logging(part)
    state = state_of(config, part)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    observer = Observe(Audit(state / "audit", part, now))
    try:
        with CounterReports(control_socket(config.run), part, observer, now):
            asyncio.run(Supervisor(settings.config, observer, entry, part).run(partial(tell_ready, part)))
    except StartFailed as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.UNAVAILABLE)
    finally:
        observer.close()
