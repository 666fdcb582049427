"""``explain``: what would happen to a mail, and why. Asks the same policy and the same evidence as the flows; sends nothing."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gateway.config.load import load
from gateway.config.model import Config, Protection
from gateway.config.words import Mode
from gateway.edge.clock import now
from gateway.flow.besides import besides
from gateway.flow.choice import Unusable
from gateway.flow.decide import KnownCapabilities, find_reader
from gateway.flow.evidence import Evidence
from gateway.mail.address import Address, AddressError, parse_address
from gateway.mail.confidentiality import NOT_PROTECTED
from gateway.mail.envelope import Direction, Role
from gateway.mail.message import Header, read_header
from gateway.operate.output import Exit, Settings, answer, command_options
from gateway.outcome import REASONS, Defer, Deliver, GatewayError, Hold, Outcome, Reason, Refuse
from gateway.policy import Known, Plan, Speaker, Undecided, admit, plan, without_certificate

if TYPE_CHECKING:
    from gateway.app import Live

_HEADER = re.compile(r"[!-9;-~]+:[^\r\n\0]*")


def as_address(context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None) -> Any:  # noqa: ANN401
    """The address, or addresses, of an option; None where it was left out."""
    if value is None:
        return None
    try:
        return parse_address(value) if isinstance(value, str) else tuple(map(parse_address, value))
    except AddressError as error:
        raise click.BadParameter(f"{error}: write local@domain", context, parameter) from error


def _fields(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for field in value:
        if not _HEADER.fullmatch(field):
            raise click.BadParameter(f"{field!r}: write 'Name: value'", context, parameter)
    return value


@click.command()
@click.option("--from", "sender", required=True, callback=as_address, help="Who sends.")
@click.option(
    "--to", "recipients", required=True, multiple=True, callback=as_address, help="Who is to read it. May be given again."
)
@click.option("--header", "fields", multiple=True, callback=_fields, help="A header field, 'Subject: ...'. May be given again.")
@command_options
@click.pass_context
def explain(
    context: click.Context, settings: Settings, sender: Address, recipients: tuple[Address, ...], fields: tuple[str, ...]
) -> None:
    """Say what would happen to a mail, and why. Sends nothing.

    Who would bring it is worked out from the sender: a client of ours, a peer of a zone, or a stranger.
    """
    config = load(settings.config)
    header = _header(sender, fields)
    answers = [_explain(config, sender, recipient, header) for recipient in recipients]
    if any(map(_needs_certificate, answers)):
        answers = asyncio.run(_with_evidence(config, answers, recipients, header))
    told = [_facts(recipient, *each) for recipient, each in zip(recipients, answers, strict=True)]
    lines = [line for each in told for line in (*_lines(each), "")][:-1]
    answer(settings, {"from": str(sender), "to": told}, lines)
    if any(each["outcome"] == "refuse" for each in told):
        context.exit(Exit.NO)


Answer = tuple[Outcome, Plan | None, dict[str, Any]]


def _header(sender: Address, fields: tuple[str, ...]) -> Header:
    lines = list(fields)
    if not any(line.lower().startswith("from:") for line in lines):
        lines.append(f"From: {sender}")
    return read_header("".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape") + b"\r\n")


def _explain(config: Config, sender: Address, recipient: Address, header: Header) -> Answer:
    """What policy says. The last part are facts to show."""
    speaker = _speaker(config, sender, recipient)
    if isinstance(speaker, Refuse):
        return speaker, None, {}
    admitted = admit(config, speaker, sender, recipient)
    if isinstance(admitted, Refuse):
        return admitted, None, {}
    facts = {"direction": str(admitted.direction), "organisation": admitted.organisation, "brought_by": _bringer(speaker)}
    known = Known(admitted.organisation, admitted.direction, sender, recipient, header, speaker.client, speaker.zone)
    planned = plan(config, known)
    if isinstance(planned, Refuse):
        return planned, None, facts
    if isinstance(planned, Undecided):
        return Hold(Reason.POLICY_HOLD, "policy cannot decide although the header is known"), None, facts
    return planned.refusal or Deliver(), planned, facts


def _speaker(config: Config, sender: Address, recipient: Address) -> Speaker | Refuse:
    """Who would bring a mail of ``sender``, over TLS."""
    for name, client in config.client.items():
        if sender.domain in client.may_send_for:
            return Speaker("", Role.INSIDE, next(iter(client.networks), ""), "TLS", client.organisation, name)
    if sender.domain in config.peers:
        zone, peer = config.peers[sender.domain]
        if any(listener.zone == zone for listener in config.listener.values()):
            return Speaker("", Role.ZONE, "", "TLS", zone=zone, peer=peer)
        return Refuse(Reason.CLIENT_UNKNOWN, f"zone {zone} has no listener")
    owner = config.owners.get(recipient.domain)
    if owner is None or any(listener.organisation == owner for listener in config.listener.values()):
        return Speaker("", Role.STRANGER, "", "TLS", owner)
    return Refuse(Reason.CLIENT_UNKNOWN, f"no listener takes mail from strangers for {owner}")


def _bringer(speaker: Speaker) -> str:
    match speaker.role:
        case Role.INSIDE:
            return f"client {speaker.client}"
        case Role.ZONE:
            return f"peer {speaker.zone}/{speaker.peer}"
        case Role.STRANGER:
            return "a stranger"


def _needs_certificate(given: Answer) -> bool:
    outcome, planned, facts = given
    encrypts = isinstance(outcome, Deliver) and planned is not None and planned.protection in (Protection.BOTH, Protection.ENCRYPT)
    return encrypts and facts["direction"] == Direction.OUTBOUND


async def _with_evidence(config: Config, answers: list[Answer], recipients: tuple[Address, ...], header: Header) -> list[Answer]:
    """``answers``, with the certificate found for each recipient that is encrypted to and how, or what becomes of one without."""
    from gateway.operate.live import parts  # loads everything that looks for certificates

    async with parts(config) as (live, known):
        asked = (_certify(config, live.evidence, known, each, person) for each, person in zip(answers, recipients, strict=True))
        return [_with_besides(config, live, each, header) for each in await asyncio.gather(*asked)]


def _with_besides(config: Config, live: Live, given: Answer, header: Header) -> Answer:
    """``given``, with who else reads what is encrypted; or that it waits for them."""
    outcome, planned, facts = given
    if "certificate" not in facts:
        return given
    organisation = facts["organisation"]
    archive = live.archives.get(organisation, ())
    try:
        found = besides(config, organisation, header, archive, live.certificates, now())
    except GatewayError as error:
        return Defer(error.reason, error.detail), planned, facts
    return outcome, planned, facts | {"besides": [each.name for each in found]}


async def _certify(config: Config, evidence: Evidence, known: KnownCapabilities, given: Answer, recipient: Address) -> Answer:
    outcome, planned, facts = given
    if planned is None or not _needs_certificate(given):
        return given
    found = await find_reader(config, evidence, known, facts["organisation"], planned, recipient, now())
    if not isinstance(found, Unusable):
        usable, chosen = found
        marks = [str(mark) for mark in usable.marks]
        certificate = {"source": usable.source, "trust": str(usable.rung), "assurance": usable.assurance, "marks": marks}
        why = {"cipher": str(chosen.cipher_why), "key": str(chosen.transport_why)}
        algorithms = {"cipher": str(chosen.cipher), "key": chosen.key, "why": why}
        return outcome, planned, facts | {"certificate": certificate, "algorithms": algorithms}
    ending = without_certificate(planned, found.reason, found.detail)
    if ending is None:
        missing = {"unprotected_because": str(found.reason), "detail": found.detail}
        left = replace(planned, protection=Protection.UNPROTECTED, sign_key=None, headers=NOT_PROTECTED)
        return outcome, left, facts | missing
    return ending, planned, facts


def _facts(recipient: Address, outcome: Outcome, planned: Plan | None, facts: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"recipient": str(recipient), "outcome": type(outcome).__name__.lower(), **facts}
    if planned is not None:
        told |= {
            "rule": planned.rule,
            "protection": str(planned.protection),
            "missing": str(planned.missing),
            "mode": str(planned.mode),
            "hop": str(planned.hop),
            "zone": planned.zone,
            "sign_key": planned.sign_key,
            "headers": str(planned.headers.policy),
            "legacy_display": planned.headers.legacy_display,
            "signed_form": str(planned.signed_form) if planned.sign_key is not None else None,
        }
    if isinstance(outcome, Refuse | Defer | Hold):
        explanation = REASONS[outcome.reason]
        told |= {"reason": str(outcome.reason), "detail": outcome.detail, "public": explanation.public}
        told |= {"owner": explanation.owner, "next_step": explanation.next_step}
    if planned is not None and planned.mode is Mode.OBSERVE:
        told["would"] = told["protection"] if told["outcome"] == "deliver" else told["outcome"]
        told |= {"outcome": "deliver", "protection": str(Protection.UNPROTECTED)}
    return told


_HEADERS = {
    "none": "protected, and shown outside",
    "baseline": "protected, and the subject hidden outside",
    "shy": "protected, and subject, names and time zone hidden outside",
}
_WORDS = {
    "both": "signed and encrypted",
    "sign": "signed",
    "encrypt": "encrypted",
    "unprotected": "as it is, unprotected",
    "refuse": "refused",
    "defer": "kept and tried again",
    "hold": "held for a person",
}


def _from(certificate: dict[str, Any]) -> str:
    """Where a certificate was found, and on whose word it is taken."""
    words = dict.fromkeys(filter(None, (certificate["trust"], certificate["assurance"])))
    return f"from {certificate['source']}, {', '.join(words)}"


def _lines(told: dict[str, Any]) -> list[str]:
    """One recipient's answer for people."""
    protection = _WORDS.get(told.get("protection", ""), "")
    if told.get("direction") == Direction.INBOUND:
        protection = "left as it is" if told.get("protection") == "unprotected" else "opened, judged and marked"
    if "unprotected_because" in told:
        protection = f"unprotected, because of {told['unprotected_because']}"
    if "would" in told:
        protection = "as it is, unprotected: its rule only observes"
    happens = {
        "deliver": f"would go to {told.get('hop')}, {protection}",
        "refuse": "would be refused",
        "defer": "would wait and be tried again",
        "hold": "would be held for a person",
    }
    lines = [f"{told['recipient']} {happens[told['outcome']]}"]
    certificate, algorithms = told.get("certificate"), told.get("algorithms")
    shown = {
        "brought by": told.get("brought_by"),
        "for": told.get("organisation"),
        "rule": told.get("rule"),
        "enforced": _WORDS.get(told.get("would", "")),
        "signed by": told.get("sign_key"),
        "written": "opaque: nothing on the way can break it" if told.get("signed_form") == "opaque" else None,
        "headers": _HEADERS.get(told.get("headers", "")),
        "certificate": _from(certificate) if certificate else None,
        "marks": ", ".join(certificate["marks"]) if certificate else None,
        "cipher": f"{algorithms['cipher']} ({algorithms['why']['cipher']})" if algorithms else None,
        "key": f"{algorithms['key']} ({algorithms['why']['key']})" if algorithms else None,
        "besides": ", ".join(told.get("besides", ())),
        "reason": f"{told['reason']}: {told['public']}" if "reason" in told else None,
        "detail": told.get("detail"),
        "who": f"{told['owner']}: {told['next_step']}" if "owner" in told else None,
    }
    return lines + [f"  {key:<12}{value}" for key, value in shown.items() if value]
