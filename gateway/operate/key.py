"""``key list``: the keys the configuration names, and what is on the token."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from gateway.config.load import load
from gateway.config.model import Config, KeyStore
from gateway.edge.tokensetup import KeyFacts, administer
from gateway.operate.output import Exit, Settings, answer, columns, command_options
from gateway.outcome import GatewayError, Reason


@click.group()
def key() -> None:
    """See which keys there are."""


@key.command("list")
@command_options
@click.pass_context
def list_keys(context: click.Context, settings: Settings) -> None:
    """List the keys of the configuration, and the private keys on the token."""
    config = load(settings.config)
    on_token = _on_token(config)
    rows = _rows(config, on_token)
    data = {
        "keys": [dict(zip(("name", "purpose", "organisation", "where", "state"), row, strict=True)) for row in rows],
        "token": [{"label": facts.label, "kind": facts.kind, "id": facts.identifier} for facts in on_token],
    }
    lines = columns(("NAME", "PURPOSE", "ORGANISATION", "WHERE", "STATE"), rows)
    if config.token is not None:
        lines += ["", f"on token {config.token.label}:", *columns(("LABEL", "KIND", "ID"), _facts(on_token))]
    answer(settings, data, lines)
    context.exit(Exit.NO if any(row[-1] == "missing" for row in rows) else Exit.DONE)


def _on_token(config: Config) -> tuple[KeyFacts, ...]:
    if config.token is None:
        return ()
    if config.key_state.is_dir() and config.key_state.stat().st_uid != os.geteuid():
        # The lock and the markers of the PIN are the gateway's: made by another user, they would lock it out.
        raise GatewayError(Reason.KEY_UNAVAILABLE, f"only the owner of {config.key_state} can list keys: run this as that user")
    with administer(config.token, config.key_state / "keys") as token:
        return token.listing()


def _rows(config: Config, on_token: Sequence[KeyFacts]) -> list[tuple[str, str, str, str, str]]:
    labels = {facts.label for facts in on_token}
    rows = []
    for name, section in config.key.items():
        state = "retired" if section.retired else "ready"
        if section.store is KeyStore.OFFLINE:
            state = "offline"
        elif not (section.file.is_file() if section.file is not None else name in labels):
            state = "missing"
        where = str(section.file or section.store)
        rows.append((name, str(section.purpose), section.organisation or "", where, state))
    return rows


def _facts(on_token: Sequence[KeyFacts]) -> list[tuple[str, str, str]]:
    return [(facts.label, facts.kind, facts.identifier) for facts in on_token]
