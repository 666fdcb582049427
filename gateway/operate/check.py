"""``check``: every mistake in the configuration at once, and what is allowed but should be known. ``--live`` tries the parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import click

from gateway.config.kinds import contents, first_certificate
from gateway.config.load import load
from gateway.config.model import Config, KeyPurpose, Missing, Organisation, Protection, Revocation, Rule, TlsMode, When, Zone
from gateway.config.words import ClientUsage, Mode
from gateway.edge.clock import now
from gateway.mail.envelope import Direction, Role
from gateway.operate.exposed import exposed, open_to_all, unseen
from gateway.operate.output import Exit, Settings, answer, columns, command_options
from gateway.operate.owncertificates import DAY, WARN_DAYS, own_notes
from gateway.outcome import GatewayError
from gateway.policy.plan import DEFAULT_UNPROTECTED
from gateway.state.state import STATE, open_sound_state
from gateway.trust.certificate import facts


@click.command()
@click.option("--live", is_flag=True, help="Try token, directories, routes and peers too. Sends no mail.")
@command_options
@click.pass_context
def check(context: click.Context, settings: Settings, live: bool) -> None:
    """Say every mistake in the configuration at once, with file and line."""
    config = load(settings.config)
    remarks = [
        *notes(config),
        *state_notes(config),
        *unseen(config),
        *open_to_all(config),
        *exposed(config, settings.config.absolute()),
    ]
    told: dict[str, object] = {"ok": True, "notes": remarks}
    lines = [f"{settings.config} is right", *(f"note: {remark}" for remark in remarks)]
    failed = False
    if live:
        from gateway.operate.live import probe_all  # the parts themselves are loaded only where they are tried

        probes = asyncio.run(probe_all(config))
        failed = any(not probe.ok for probe in probes)
        told |= {"ok": not failed, "live": [{"part": probe.part, "ok": probe.ok, "detail": probe.detail} for probe in probes]}
        rows = [(probe.part, "ok" if probe.ok else "FAILED", probe.detail) for probe in probes]
        lines += ["", *columns(("PART", "", "DETAIL"), rows)]
    answer(settings, told, lines)
    if failed:
        context.exit(Exit.UNAVAILABLE)


def notes(config: Config) -> Iterator[str]:
    """What is no mistake, but what somebody should know of: above all, everything that lets plaintext out."""
    if config.agents is None:
        yield "the key agents run as the same user as the workers; see docs/install.md, Two users"
    if config.recovery_key is None:
        yield "no recovery_key: with the token, the mail in the spool is lost"
    if config.audit_key is None:
        yield "no audit_key: the heads of the audit are not signed, and an end cut off would not show"
    for rule in config.rule:
        if rule.mode is Mode.OBSERVE:
            yield f"rule {rule.name} only observes: what it would protect, hold or refuse leaves unprotected"
        elif rule.protect is Protection.UNPROTECTED and rule.when.direction is not Direction.INBOUND:
            yield f"rule {rule.name} lets mail out unprotected"
        elif rule.missing is Missing.UNPROTECTED and rule.protect is not Protection.SIGN:
            yield f"rule {rule.name} lets mail out unprotected where a certificate is missing"
    yield from _zones(config)
    for name, listener in config.listener.items():
        if listener.role is Role.INSIDE and listener.tls is TlsMode.NONE and not ip_address(listener.address).is_loopback:
            yield f"listener {name} takes mail in clear from the network"
    for name, organisation in config.organisation.items():
        yield from _about(config, name, organisation)
    yield from own_notes(config, now())


def state_notes(config: Config) -> Iterator[str]:
    """What is wrong with what outlives a mail, where it is there and open to the user of this command."""
    path = config.state / STATE
    if os.access(path, os.R_OK | os.W_OK):
        try:
            open_sound_state(config.state, now).close()
        except GatewayError as error:
            yield f"{path} cannot be used, and what would be encrypted waits: {error.detail}; docs/operate.md, What to do when"


def _zones(config: Config) -> Iterator[str]:
    for name, zone in config.zone.items():
        yield from _unasked(f"zone {name}", zone)
        if not any(listener.zone == name for listener in config.listener.values()):
            yield f"zone {name} has no listener; its peers cannot send to us"
        for peer in zone.peer:
            if peer.client_usage is ClientUsage.SERVER_AUTH_ALLOWED:
                yield f"peer {name}/{peer.name} may show a certificate meant for servers when it connects to us"


def _unasked(who: str, section: Organisation | Zone) -> Iterator[str]:
    if section.revocation is Revocation.UNSAFE_OFF:
        yield f"{who} never asks whether a certificate is revoked"
    for purpose, word in section.revocation_of:
        if word is Revocation.UNSAFE_OFF:
            yield f"{who} never asks whether the certificate of a {purpose} is revoked"


def _about(config: Config, name: str, organisation: Organisation) -> Iterator[str]:
    yield from _unasked(f"organisation {name}", organisation)
    if organisation.outbound is not None and not any(_decides_all(rule, name) for rule in config.rule):
        yield f"organisation {name}: what no rule decides leaves unprotected, outside of zones ({DEFAULT_UNPROTECTED})"
    purposes = {key.purpose for key in config.key.values() if key.organisation == name and not key.retired}
    if KeyPurpose.SIGN not in purposes:
        yield f"organisation {name} has no key to sign with; what must be signed is refused"
    if KeyPurpose.DECRYPT not in purposes:
        yield f"organisation {name} has no key to decrypt with"
    server = config.route[organisation.mail_server]
    if server.tls is TlsMode.NONE and not _is_here(server.host or ""):
        yield f"organisation {name} hands what it has opened to route {organisation.mail_server} in clear, over the network"
    for path in _read_besides(config, name, organisation):
        left = facts(contents(path, first_certificate)).not_after - now()
        if left < WARN_DAYS * DAY:
            when = f"expires in {left // DAY} days" if left > 0 else "has expired"
            yield f"organisation {name} waits with all encrypted mail once {path.name} has expired: it {when}"
    for zone, peer in ((zone, peer) for zone, section in config.zone.items() for peer in section.peer):
        less = "" if peer.opens is None else " and ".join(organisation.floor.missed_by(peer.opens))
        if less:
            yield f"organisation {name} encrypts to nobody of peer {zone}/{peer.name} but whom a reader names: {less} below floor"


def _is_here(host: str) -> bool:
    """Whether ``host`` is an address of this machine alone; what a name leads to is not asked."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _decides_all(rule: Rule, organisation: str) -> bool:
    """Whether no outbound mail of ``organisation`` gets past ``rule``."""
    when = rule.when.model_copy(update={"direction": rule.when.direction or Direction.OUTBOUND})
    return when in (When(direction=Direction.OUTBOUND), When(direction=Direction.OUTBOUND, organisation=organisation))


def _read_besides(config: Config, name: str, organisation: Organisation) -> Iterator[Path]:
    """The certificates without which nothing encrypted leaves."""
    yield from organisation.archive
    for key in config.key.values() if organisation.to_sender else ():
        if key.purpose is KeyPurpose.DECRYPT and key.organisation == name and not key.retired and key.certificate is not None:
            yield key.certificate
