"""``user line``: a line for a file of users, from a password on standard input."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from gateway.config.kinds import login_name
from gateway.edge.password import hash_password
from gateway.operate.output import Settings, answer, command_options

SALT_BYTES: Final = 16
MAX_PASSWORD: Final = 512


@click.group()
def user() -> None:
    """Make the lines of a file of users."""


@user.command("line")
@click.argument("name")
@command_options
def line(settings: Settings, name: str) -> None:
    """Print the line of NAME for a file of users. The password is one line of standard input, and never an argument."""
    if ":" in name or name.startswith("#"):
        raise click.UsageError("a name has no ':', and no '#' in front")
    try:
        login_name(name)
        password = sys.stdin.buffer.readline(MAX_PASSWORD + 2).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("the password is not UTF-8") from None
    except ValueError as error:
        raise click.UsageError(f"a name is {error}") from None
    if not 0 < len(password.encode()) <= MAX_PASSWORD or "\0" in password:
        raise click.UsageError(f"a password of 1 to {MAX_PASSWORD} bytes in one line of standard input")
    made = f"{name}:{hash_password(password, os.urandom(SALT_BYTES))}"
    answer(settings, {"line": made}, [made])
