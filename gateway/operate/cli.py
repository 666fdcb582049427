"""The command line. Each command lives in a module of its own that is loaded when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import click

from gateway.config.mistake import ConfigError
from gateway.operate.output import Exit, Settings, answer, command_options, say
from gateway.outcome import GatewayError, Reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is, and what the list of commands says of it."""

    module: str
    name: str
    summary: str


VERSION: Final = "0.1.0"  # and in pyproject.toml: a copy of the repository has no metadata to read it from

COMMANDS: Final = {
    "init": Place("gateway.operate.init", "init", "Make a working configuration, token, keys and requests for certificates."),
    "run": Place("gateway.operate.run", "run", "Run the gateway."),
    "check": Place("gateway.operate.check", "check", "Say every mistake in the configuration at once."),
    "explain": Place("gateway.operate.explain", "explain", "Say what would happen to a mail, and why. Sends nothing."),
    "message": Place("gateway.operate.message", "message", "Open or protect one message, as the flows would."),
    "peer": Place("gateway.operate.peer", "peer", "List the peers of the zones; test the way to one."),
    "queue": Place("gateway.operate.queue", "queue", "List mails on their way; say why one waits; release or drop it."),
    "cert": Place("gateway.operate.cert", "cert", "Find, pin, import, approve and forget certificates of correspondents."),
    "audit": Place("gateway.operate.audit", "audit", "Say whether the audit is what was written."),
    "key": Place("gateway.operate.key", "key", "List the keys, and what is on the token."),
    "user": Place("gateway.operate.user", "user", "Make a line of a file of users."),
    "status": Place("gateway.operate.status", "status", "Say how the running gateway is."),
}

# Something that is not there now; every other reason is about what was given.
_UNAVAILABLE: Final = frozenset(
    {
        Reason.KEY_UNAVAILABLE,
        Reason.DIRECTORY_UNAVAILABLE,
        Reason.SPOOL_UNAVAILABLE,
        Reason.SPOOL_FULL,
        Reason.OWN_WORK_WRONG,
        Reason.HOP_UNREACHABLE,
        Reason.TLS_FAILED,
    }
)


class Commands(click.Group):
    """Loads a command when it is used, and ends every command in the same few ways."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of a newcomer's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command, loaded."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command = getattr(import_module(place.module), place.name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place.module}.{place.name} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The list of commands, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Learn early who asks: what is wrong with the other options is said in JSON too."""
        ctx.ensure_object(Settings).as_json = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command. What it raises becomes words and an exit status."""
        settings = ctx.ensure_object(Settings)
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            mistakes = [
                {"file": str(each.file), "line": each.line, "path": each.path, "found": each.found, "allowed": each.allowed}
                for each in error.mistakes
            ]
            count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in the configuration"
            _complain(settings, {"error": "configuration", "mistakes": mistakes}, [*map(str, error.mistakes), count])
            ctx.exit(Exit.WRONG)
        except GatewayError as error:
            _complain(settings, {"error": str(error.reason), "detail": error.detail}, [f"{error.reason}: {error.detail}"])
            ctx.exit(Exit.UNAVAILABLE if error.reason in _UNAVAILABLE else Exit.WRONG)
        except click.UsageError as error:
            if not settings.as_json:
                raise
            _complain(settings, {"error": "usage", "detail": error.format_message()}, [])
            ctx.exit(Exit.WRONG)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            _complain(settings, {"error": "input", "detail": text}, [text])
            ctx.exit(Exit.WRONG)


def _complain(settings: Settings, data: dict[str, Any], lines: list[str]) -> None:
    if settings.as_json:
        answer(settings, data, ())
    else:
        for line in lines:
            say(line, error=True)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION)
@command_options
def main(_: Settings) -> None:
    """S/MIME security gateway.

    Exit status: 0 done; 1 a clean no (not verified, not found, would be refused); 2 wrong usage, wrong configuration or
    unreadable input; 3 the gateway or a part it needs is unavailable.
    """
