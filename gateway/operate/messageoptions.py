"""What the commands about one message have in common: their options, and reading what these name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, TypeVar

import click

from gateway.config.section import Secret
from gateway.edge.clock import now
from gateway.edge.secret import SecretError, read_secret
from gateway.mail.memory import MemoryBody
from gateway.mail.wire import wire_form
from gateway.operate.given import MAX_MESSAGE, GivenError
from gateway.outcome import GatewayError, Reason

P = ParamSpec("P")
T = TypeVar("T")

FILE: Final = click.Path(dir_okay=False, path_type=Path)


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> int:
    """The time of an option in microseconds UTC; now where it was left out."""
    if value is None:
        return now()
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: write it as 2026-03-01T12:00:00Z", context, parameter) from error
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def shared(command: Callable[P, T]) -> Callable[P, T]:
    """Gives ``command`` the options of both commands."""
    unknown = "A certificate without a current CRL is not believed, or believed and marked."
    for option in (
        click.option("--output", type=FILE, help="Where to write the message."),
        click.option("--at", callback=moment, help="The time to judge at (RFC 3339).  [default: now]"),
        click.option("--passphrase", type=FILE, help="A file that holds the passphrase of the key files."),
        click.option("--revocation", type=click.Choice(["hard", "soft"]), default="soft", show_default=True, help=unknown),
        click.option("--crl", "crls", multiple=True, type=FILE, help="A CRL, PEM or DER; none is fetched. May be given again."),
        click.option("--trust", multiple=True, type=FILE, help="Certificates of authorities to believe. May be given again."),
    ):
        command = option(command)
    return command


def taken(read: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What ``read`` makes of the files it is given; wrong usage where they are something else."""
    try:
        return read(*arguments, **named)
    except (GivenError, SecretError) as error:
        raise click.UsageError(str(error) if isinstance(error, GivenError) else error.detail) from error


def passphrase_in(file: Path | None) -> str | None:
    """The passphrase in ``file``. Raises :class:`gateway.edge.secret.SecretError`."""
    return None if file is None else read_secret(Secret(file=file))


def read_message(file: BinaryIO, form: Callable[[bytes], bytes] = wire_form) -> MemoryBody:
    """The message in ``file``, in the ``form`` it has on the wire. Raises :class:`GatewayError`: LIMIT, and as ``form``."""
    data = file.read(MAX_MESSAGE + 1)
    if len(data) > MAX_MESSAGE:
        raise GatewayError(Reason.LIMIT, f"a message over {MAX_MESSAGE} bytes")
    return MemoryBody.of(form(data))
