"""``smime-gateway run``: the supervisor in the foreground, for systemd, a container, or a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

import click

from gateway.config.load import load
from gateway.edge.clock import now
from gateway.edge.counting import CounterReports, control_socket
from gateway.edge.observe import Audit, Observe, configure_logging
from gateway.operate.output import Exit, Settings, command_options
from gateway.supervise import Child, StartFailed, Supervisor


def entry(child: Child, run_directory: Path) -> list[str]:
    """How a child process is started. Nothing secret is in it: every user of the machine may read a command line."""
    return [sys.executable, "-m", "gateway.operate.process", child.kind, str(child.index), str(run_directory)]


def tell_ready() -> None:
    """Say so on standard output, and to systemd where it listens (sd_notify(3))."""
    click.echo("smime-gateway is ready")
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        name = "\0" + address[1:] if address.startswith("@") else address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", name)


@click.command()
@command_options
def run(settings: Settings) -> None:
    """Run the gateway until SIGTERM. SIGHUP takes the configuration anew; so does a changed file."""
    config = load(settings.config)
    configure_logging("supervisor")
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    observer = Observe(Audit(config.state / "audit", "supervisor", now))
    try:
        with CounterReports(control_socket(config.run), "supervisor", observer, now):
            asyncio.run(Supervisor(settings.config, observer, entry).run(tell_ready))
    except StartFailed as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.UNAVAILABLE)
    finally:
        observer.close()
