"""``message``: one message opened as the inbound flow does, or protected as the outbound flow does.

With ``--key``, ``--trust``, ``--crl`` (``--sign-key``, ``--encrypt-to``) everything comes from files, and no configuration is
read; without, keys are asked of the running gateway's agents, and policy and trust are the configuration's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import click

from gateway.config.load import load
from gateway.events import Event, MailProtected
from gateway.flow.opening import Opened
from gateway.flow.result import Flowed
from gateway.library.body import choices
from gateway.mail.address import Address
from gateway.mail.body import Body
from gateway.mail.confidentiality import HeaderProtection, Headers
from gateway.mail.envelope import Mail, Recipient
from gateway.mail.message import from_address, head_of
from gateway.mail.verdict import Judged, Verdict, unreadable
from gateway.mail.wire import canonical_form
from gateway.operate import oneshot
from gateway.operate.explain import as_address
from gateway.operate.fitness import doubts_about, people_of
from gateway.operate.given import read_given, read_keys, read_trust
from gateway.operate.messageoptions import FILE, passphrase_in, read_message, shared, taken
from gateway.operate.output import Exit, Settings, answer, command_options, say
from gateway.outcome import REASONS, GatewayError
from gateway.smime.known import Strength
from gateway.smime.message import SignedForm
from gateway.trust.certificate import facts
from gateway.trust.judgement import Revocation


@click.group()
def message() -> None:
    """Open or protect one message, as the flows would."""


@message.command("open")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--key", "keys", multiple=True, type=FILE, help="A private key (PEM, PKCS#12), or its certificate. May be given again."
)
@shared
@click.option("--legacy", is_flag=True, help="Read SHA-1, MD5, DSA, 3DES and RC2 too. They verify nothing.")
@click.option("--organisation", help="With a configuration: for whom.  [default: the first]")
@command_options
@click.pass_context
def open_(
    context: click.Context,
    settings: Settings,
    file: BinaryIO,
    keys: tuple[Path, ...],
    trust: tuple[Path, ...],
    crls: tuple[Path, ...],
    revocation: str,
    passphrase: Path | None,
    at: int,
    legacy: bool,
    organisation: str | None,
    output: Path | None,
) -> None:
    """Say what the inbound flow makes of the message in FILE ("-" is standard input)."""
    strength = Strength.LEGACY if legacy else Strength.MODERN
    if keys or trust or crls:
        believed = taken(read_trust, trust, crls, Revocation(revocation))
        held = taken(read_keys, keys, taken(passphrase_in, passphrase))
        opening = partial(oneshot.open_given, keys=held, trust=believed, at=at, strength=strength)
    else:
        config = load(settings.config)
        name = organisation or next(iter(config.organisation))
        if name not in config.organisation:
            raise click.UsageError(f"no organisation {name!r}; there are: {', '.join(config.organisation)}", context)
        opening = partial(oneshot.open_configured, config, organisation=name, at=at, strength=strength)
    verdict, subject = _opened(opening, file, output)
    answer(settings, {**verdict.to_json(), "subject": subject}, _lines(verdict))
    context.exit(Exit.DONE if verdict.judged is Judged.VERIFIED else Exit.NO)


def _opened(
    opening: Callable[..., Coroutine[None, None, Opened]], file: BinaryIO, output: Path | None
) -> tuple[Verdict, str | None]:
    """The verdict and the Subject. The message goes to ``output``, but for one whose header cannot be read: nobody would get it."""
    try:
        body = read_message(file)
        head_of(body)
    except GatewayError as error:
        return unreadable(error.reason), None
    opened = asyncio.run(opening(body=body))
    if output is not None:
        _write(output, opened.body)
    return opened.verdict, _subject(opened.body)


@message.command()
@click.argument("file", type=click.File("rb"))
@click.option("--sign-key", multiple=True, type=FILE, help="A private key (PEM, PKCS#12), or its certificate. May be given again.")
@click.option("--encrypt-to", multiple=True, type=FILE, help="A certificate to encrypt to. May be given again.")
@shared
@click.option("--from", "sender", callback=as_address, help="Who writes.  [default: the From]")
@click.option("--to", "recipients", multiple=True, callback=as_address, help="Who is to read it.  [default: To and Cc]")
@click.option("--opaque", is_flag=True, help="Sign with the content inside: only S/MIME reads it, and no relay can break it.")
@click.option(
    "--headers", type=click.Choice([each.value for each in Headers]), help="What of the header is hidden.  [default: baseline]"
)
@click.option("--legacy-display", is_flag=True, help="Repeat what is hidden at the head of the text, for old mail programs.")
@command_options
@click.pass_context
def protect(
    context: click.Context,
    settings: Settings,
    file: BinaryIO,
    sign_key: tuple[Path, ...],
    encrypt_to: tuple[Path, ...],
    trust: tuple[Path, ...],
    crls: tuple[Path, ...],
    revocation: str,
    passphrase: Path | None,
    at: int,
    sender: Address | None,
    recipients: tuple[Address, ...],
    opaque: bool,
    headers: str | None,
    legacy_display: bool,
    output: Path | None,
) -> None:
    """Make of the message in FILE ("-" is standard input) what the outbound flow would. Sends nothing.

    A certificate must fit its use, the time, and whom the message is from or to; with --trust it must be believed too. With a
    configuration, give --to, and it says what becomes of the header. Several copies are written to OUTPUT, OUTPUT.2 and so on.
    """
    if opaque and not sign_key:
        raise click.UsageError("--opaque goes with --sign-key", context)
    body = read_message(file, canonical_form)
    if not sign_key and not encrypt_to:
        if headers is not None or legacy_display:
            raise click.UsageError("--headers and --legacy-display go with --sign-key and --encrypt-to", context)
        _protect_configured(context, settings, body, sender, recipients, at, output)
        return
    keys = taken(read_keys, sign_key, taken(passphrase_in, passphrase))
    if len(keys) > 1:
        raise click.UsageError("one key signs, and several were given; its certificates may stand beside it", context)
    given = [taken(read_given, each) for each in encrypt_to]
    readers = [own for own, *_ in given]
    key = keys[0] if keys else None
    believed = taken(read_trust, trust, crls, Revocation(revocation)) if trust else None
    doubts = doubts_about(key, given, people_of(head_of(body), sender, recipients), believed, at)
    if doubts:
        each = [{"subject": why.subject, "reason": str(why.reason), "detail": why.detail} for why in doubts]
        answer(settings, {"protected": False, "distrusted": each}, (f"{why.reason}: {why.detail}" for why in doubts))
        context.exit(Exit.NO)
    wanted = HeaderProtection(Headers(headers or Headers.BASELINE), legacy_display)
    form = SignedForm.OPAQUE if opaque else SignedForm.CLEAR
    made = asyncio.run(oneshot.protect_given(body, key, readers, at, wanted, form))
    signer = facts(key.certificates[0]).subject if key else None
    told = {"protected": True, "signed_by": signer, "encrypted_to": [facts(each).subject for each in readers]}
    chosen = choices(readers)
    told["algorithms"] = [each.told for each in chosen]
    lines = [f"{facts(reader).subject}: {each.told}" for reader, each in zip(readers, chosen, strict=True)]
    _give(settings, [made], told, lines, output)


def _protect_configured(
    context: click.Context,
    settings: Settings,
    body: Body,
    sender: Address | None,
    recipients: tuple[Address, ...],
    at: int,
    output: Path | None,
) -> None:
    if not recipients:
        raise click.UsageError("give --to, or --sign-key and --encrypt-to", context)
    config = load(settings.config)
    author = sender or from_address(head_of(body))
    client, organisation = oneshot.bringer(config, author)
    outbound, seen = oneshot.Outbound(body, author, recipients, organisation, client), Seen()
    flowed = asyncio.run(oneshot.protect_configured(config, outbound, seen, at))
    copies = [
        {"hop": str(mail.hop), "to": _addresses(mail.envelope.recipients), "size": mail.body.size, **seen.told(mail)}
        for mail in flowed.outputs
    ]
    endings = list(_endings(flowed))
    for each in endings:
        say(f"{', '.join(each['to'])}: {each['outcome']}: {each['reason']}: {each['detail']}", error=True)
    lines = [f"{to}: {how}" for copy in copies for to, how in copy.get("algorithms", {}).items()]
    _give(settings, [mail.body for mail in flowed.outputs], {"copies": copies, "others": endings}, lines, output)
    if endings:
        context.exit(Exit.NO)


class Seen:
    """What the audit would have of each copy."""

    def __init__(self) -> None:
        self._events: list[MailProtected] = []

    def see(self, event: Event, /) -> None:
        """Remember it, if it is about a protected copy."""
        if isinstance(event, MailProtected):
            self._events.append(event)

    def told(self, mail: Mail) -> dict[str, Any]:
        """How ``mail`` is encrypted, to whom, and who reads it besides; nothing where it is not."""
        events = [event for event in self._events if event.copy == mail.arrival.mail and event.content_cipher]
        if not events:
            return {}
        algorithms = {to: how for event in events for to, how in zip(event.recipients, event.algorithms, strict=True)}
        return {"content_cipher": events[0].content_cipher, "algorithms": algorithms, "besides": list(events[0].besides)}


def _endings(flowed: Flowed) -> Iterator[dict[str, Any]]:
    """The recipients for whom there is no copy, and why."""
    for outcome, groups in (("hold", flowed.held), ("defer", flowed.deferred), ("refuse", flowed.refused)):
        for group in groups:
            to = _addresses(group.recipients)
            yield {"to": to, "outcome": outcome, "reason": str(group.reason), "detail": group.detail}


def _addresses(recipients: Sequence[Recipient]) -> list[str]:
    return [str(recipient.address) for recipient in recipients]


def _give(settings: Settings, bodies: Sequence[Body], told: dict[str, Any], people: Sequence[str], output: Path | None) -> None:
    """What was made, to files or to standard output; what is said of it where that is free: ``told`` with --json, or ``people``."""
    if output is not None:
        for number, body in enumerate(bodies, 1):
            _write(output if number == 1 else output.with_name(f"{output.name}.{number}"), body)
    elif not settings.as_json:
        if len(bodies) > 1:
            raise click.UsageError(f"{len(bodies)} copies were made; give --output")
        for body in bodies:
            for chunk in body.chunks():
                click.echo(chunk, nl=False)
    if settings.as_json or output is not None:
        answer(settings, told, people)


def _subject(body: Body) -> str | None:
    """The Subject the mailbox is shown: the protected one, where there is one; None for a header that our marks made too long."""
    try:
        field = head_of(body).first("Subject")
    except GatewayError:
        return None
    return field.text if field is not None else None


def _write(path: Path, body: Body) -> None:
    """Where there is no such file, one that is its owner's alone: what was encrypted stands in it in clear."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.writelines(body.chunks())


def _lines(verdict: Verdict) -> Iterator[str]:
    """A verdict for people."""
    yield f"verdict    {verdict.judged}" + (f", on the word of {verdict.assurance}" if verdict.assurance else "")
    yield f"from       {', '.join(verdict.author) or 'nobody'}"
    yield f"encrypted  {'yes' if verdict.encrypted else 'no'}"
    for reason in verdict.reasons:
        yield f"reason     {reason}: {REASONS[reason].public}"
    for layer in verdict.layers:
        algorithms = ", ".join(f"{name} {value}" for name, value in layer.algorithms.items())
        yield f"layer      {layer.kind} ({layer.where}){': ' + algorithms if algorithms else ''}"
        for recipient in layer.recipients:
            yield f"  for      {recipient}"
        for signer in layer.signers:
            why = f": {', '.join(signer.reasons)}" if signer.reasons else ""
            yield f"  by       {signer.subject or 'unknown'}, signature {signer.signature}, {signer.trust}{why}"
