"""``peer``: the gateways of our zones, and whether the way to one is open."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from gateway.config.load import load
from gateway.config.model import Config, ZonePeer
from gateway.mail.envelope import NextHop
from gateway.operate.output import Exit, Settings, answer, columns, command_options


@click.group()
def peer() -> None:
    """The gateways of our zones."""


@peer.command("list")
@click.option("--zone", help="Only the peers of this zone.")
@command_options
@click.pass_context
def list_(context: click.Context, settings: Settings, zone: str | None) -> None:
    """List peers: for which domains they speak, where they are, which certificate they must show."""
    config = load(settings.config)
    if zone is not None and zone not in config.zone:
        raise click.BadParameter(f"no zone {zone!r}; there are: {', '.join(config.zone) or 'none'}", context, param_hint="--zone")
    peers = [facts(name, each) for name, section in config.zone.items() if zone in (None, name) for each in section.peer]
    table = [
        (each["zone"], each["peer"], f"{each['host']}:{each['port']}", each["tls"], _shows(each), ", ".join(each["domains"]))
        for each in peers
    ]
    answer(settings, {"peers": peers}, columns(("ZONE", "PEER", "HOST", "TLS", "CERTIFICATE", "DOMAINS"), table))


def facts(zone: str, peer: ZonePeer) -> dict[str, Any]:
    """A peer as ``--json`` shows it."""
    return {"zone": zone, "peer": peer.name, **peer.model_dump(mode="json", exclude={"name"})}


def _shows(peer: dict[str, Any]) -> str:
    return " and ".join(text for text in (" or ".join(peer["names"]), peer["dn"]) if text)


@peer.command()
@click.argument("name", metavar="[ZONE/]PEER")
@command_options
@click.pass_context
def test(context: click.Context, settings: Settings, name: str) -> None:
    """Connect to a peer as a delivery would, check its certificate against the zone, and send nothing."""
    config = load(settings.config)
    hop = _named(config, name)
    from gateway.operate.live import reach  # loads everything a delivery needs

    probe = asyncio.run(reach(config, hop))
    told = {"zone": hop.zone, "peer": hop.name, "ok": probe.ok, "detail": probe.detail}
    answer(settings, told, [f"{hop.zone}/{hop.name}: {'ok' if probe.ok else 'FAILED'}: {probe.detail}"])
    if not probe.ok:
        context.exit(Exit.UNAVAILABLE)


def _named(config: Config, text: str) -> NextHop:
    """The peer called ``text``, with its zone in front where the name alone could be two."""
    zone, slash, name = text.rpartition("/")
    found = [
        NextHop(each.name, of)
        for of, section in config.zone.items()
        for each in section.peer
        if each.name == name and (not slash or of == zone)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.BadParameter(f"{name!r} is in several zones: {', '.join(f'{hop.zone}/{hop.name}' for hop in found)}")
    raise click.BadParameter(f"no peer {text!r}; `peer list` shows them")
