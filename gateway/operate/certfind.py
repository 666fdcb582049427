"""``cert find``: where a certificate of an address was looked for, what was found, and why one is taken and not another."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from gateway.config.load import load
from gateway.config.model import Config
from gateway.edge.clock import now
from gateway.flow.choice import Candidate, Looked, Unusable, Usable, outdone
from gateway.flow.evidence import Inquired
from gateway.mail.address import Address
from gateway.operate.certstate import named_organisation
from gateway.operate.explain import as_address
from gateway.operate.live import parts
from gateway.operate.output import Exit, Settings, answer, command_options
from gateway.outcome import REASONS
from gateway.trust.certificate import CertificateError, facts
from gateway.trust.moment import as_text


@click.command("find")
@click.argument("address", callback=as_address)
@click.option("--from", "sender", callback=as_address, help="Who would write to it.")
@click.option("--organisation", help="For which one.  [default: the sender's, or the only one]")
@command_options
@click.pass_context
def find(context: click.Context, settings: Settings, address: Address, sender: Address | None, organisation: str | None) -> None:
    """Ask every source for certificates of ADDRESS, and say what each said and which certificate is taken.

    All are asked, also those that the gateway would not ask any more. What a rule says of the least trust is left out.
    """
    config = load(settings.config)
    if organisation is None and sender is not None:
        organisation = config.owners.get(sender.domain)
    of = named_organisation(config, organisation)
    zone, _ = config.peers.get(address.domain, (None, ""))
    told = asyncio.run(_inquire(config, of, zone, address))
    data = {"address": str(address), "organisation": of, "zone": zone, **_answer(told)}
    data["sources"] = [_source(each, told, needed=number < told.needed) for number, each in enumerate(told.looked)]
    answer(settings, data, _lines(data))
    if isinstance(told.answer, Unusable):
        context.exit(Exit.NO)


async def _inquire(config: Config, organisation: str, zone: str | None, address: Address) -> Inquired:
    async with parts(config) as (live, _):
        return await live.evidence.inquire(organisation, zone, address, now())


def _answer(told: Inquired) -> dict[str, Any]:
    found = told.answer
    if isinstance(found, Unusable):
        explanation = REASONS[found.reason]
        why = {"reason": str(found.reason), "detail": found.detail, "public": explanation.public}
        return {"found": None, **why, "owner": explanation.owner, "next_step": explanation.next_step}
    marks = [str(mark) for mark in found.marks]
    taken = {"source": found.source, "trust": str(found.rung), "assurance": found.assurance, "marks": marks}
    return {"found": taken | _certificate(found.certificate)}


def _certificate(certificate: bytes) -> dict[str, Any]:
    try:
        found = facts(certificate)
    except CertificateError:
        return {"fingerprint": None}
    return {
        "subject": found.subject,
        "issuer": found.issuer,
        "serial": f"{found.serial:x}",
        "fingerprint": found.sha256.hex(),
        "not_before": as_text(found.not_before),
        "not_after": as_text(found.not_after),
    }


def _source(looked: Looked, told: Inquired, *, needed: bool) -> dict[str, Any]:
    trouble = looked.trouble
    return {
        "source": looked.source,
        "needed": needed,
        "seconds": round(looked.seconds, 3),
        "unavailable": None if trouble is None else trouble.detail,
        "passed_over": list(looked.passed_over),
        "names_others": bool(looked.associations),
        "candidates": [_candidate(each, looked, told) for each in looked.candidates],
    }


def _candidate(candidate: Candidate, looked: Looked, told: Inquired) -> dict[str, Any]:
    found, taken, behind = told.answer, False, None
    if isinstance(found, Usable):
        taken = (found.source, found.certificate) == (looked.source, candidate.certificate)
        behind = None if taken or candidate.rung is None else outdone(candidate, looked.source, found, told.looked)
    return {
        **_certificate(candidate.certificate),
        "taken": taken,
        "trust": candidate.rung,
        "binding": candidate.binding,
        "reason": None if candidate.doubt is None else str(candidate.doubt.reason),
        "detail": None if candidate.doubt is None else candidate.doubt.detail,
        "outdone": behind,
    }


def _lines(data: dict[str, Any]) -> list[str]:
    place = f"zone {data['zone']}" if data["zone"] else "outside of zones"
    lines = [f"{data['address']}, for {data['organisation']}, {place}"]
    for each in data["sources"]:
        late = "" if each["needed"] else "  (not needed)"
        lines.append(f"  {each['source']}  {each['seconds']:.3f} s{late}")
        if each["unavailable"]:
            lines.append(f"    unavailable: {each['unavailable']}")
        lines += [f"    passed over: {what}" for what in each["passed_over"]]
        if not each["candidates"] and not each["unavailable"]:
            lines.append("    nothing")
        lines += [line for candidate in each["candidates"] for line in _about(candidate)]
    if data["found"] is not None:
        return [*lines, f"taken: from {data['found']['source']}, {data['found']['trust']}"]
    return [*lines, f"none: {data['reason']}: {data['public']}", f"  {data['detail']}", f"  {data['owner']}: {data['next_step']}"]


def _about(candidate: dict[str, Any]) -> list[str]:
    verdict = "taken" if candidate["taken"] else candidate["trust"] or "not to be used"
    if candidate["fingerprint"] is None:
        return [f"    {verdict}: {candidate['reason']}: {candidate['detail']}"]
    name = f"{candidate['subject']}  {candidate['fingerprint'][:16]}  until {candidate['not_after'][:10]}"
    doubt = f"  {candidate['reason']}: {candidate['detail']}" if candidate["reason"] else ""
    behind = [f"      not taken: {candidate['outdone']}"] if candidate["outdone"] else []
    return [f"    {verdict}: {name}", f"      issued by {candidate['issuer']}{doubt}", *behind]
