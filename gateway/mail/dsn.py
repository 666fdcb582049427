"""Reports to the sender: delivery status notifications (RFC 3461, 3464, 6522, and 6533 for addresses beyond ASCII). Pure.

A report goes over the Internet in clear. It returns a few header fields of the mail it speaks of and never its content, also
where RET=FULL asks for it; of a protected mail it returns nothing at all, and of the next hop's words only the numbers, because
the words may quote what was protected. Every report is 7-bit but for an address of the reader that is not.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Final

from gateway.mail.address import Address
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.identifier import MailId
from gateway.mail.message import Header
from gateway.outcome import REASONS, Reason

RETURNED: Final = ("Date", "From", "To", "Subject", "Message-ID")
MAX_RETURNED: Final = 16 * 1024  # bytes of returned header
MAX_DIAGNOSTIC: Final = 700  # characters of the next hop's words

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REPLY: Final = re.compile(r"([245])[0-9]{2}(?: (\1\.[0-9]{1,3}\.[0-9]{1,3}))?(?= |$)")
_HEX: Final = re.compile(r"\+([0-9A-F]{2})")
_UNSAFE: Final = re.compile(r"[^ -~]")


class Action(StrEnum):
    """What became of a recipient (RFC 3464 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


_CLASS: Final = {Action.FAILED: "5", Action.DELAYED: "4", Action.DELIVERED: "2", Action.RELAYED: "2"}
_NOTIFY: Final = {Action.FAILED: "FAILURE", Action.DELAYED: "DELAY", Action.DELIVERED: "SUCCESS", Action.RELAYED: "SUCCESS"}
_SUBJECT: Final = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.DELIVERED: "Your message was delivered",
    Action.RELAYED: "Your message was passed on",
}
_SENTENCE: Final = {
    Action.FAILED: "It could not be delivered to:",
    Action.DELAYED: "It is delayed, and will be tried again, for:",
    Action.DELIVERED: "It was delivered to:",
    Action.RELAYED: "It was passed on to a mail server that sends no reports, for:",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient. ``reason`` is ours, None where all is well; ``reply`` the next hop's word ("550 5.1.1 ...") and
    ``host`` its name, with or without port, "" where there was none. ``until`` is when a delayed mail is given up (microseconds).
    """

    recipient: Recipient
    action: Action
    reason: Reason | None = None
    reply: str = ""
    host: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A report of ``reporter`` (our host name), itself the mail ``identifier``, to the sender ``to``, made at ``at``.

    ``arrived`` is when the mail came to us and ``envid`` its ENVID as given. ``header`` is the mail's own, None where it was, is
    or should have been protected. Times are microseconds UTC.
    """

    reporter: str
    identifier: MailId
    at: int
    to: Address
    arrived: int
    fates: tuple[Fate, ...]
    envid: str | None = None
    header: Header | None = None


def wants_report(sender: Address | None, recipient: Recipient, action: Action) -> bool:
    """Whether ``sender`` is to hear of ``action`` (RFC 3461 4.1). Nobody is told where the reverse-path is null."""
    if sender is None:
        return False
    if not recipient.notify:
        return action in (Action.FAILED, Action.DELAYED)
    return _NOTIFY[action] in recipient.notify


def report_envelope(sender: Address) -> Envelope:
    """The envelope a report travels in: null reverse-path, so that it never causes another (RFC 3461 6)."""
    return Envelope(None, (Recipient(sender),), smtputf8=sender.needs_smtputf8)


def build_report(report: Report) -> bytes:
    """The report as a message with CRLF line ends. ``report.fates`` must not be empty."""
    if not report.fates:
        raise ValueError("a report of nothing")
    boundary = f"=_{report.identifier}"
    parts = [_explanation(report), _status(report)]
    if report.header is not None:
        parts.append(_returned(report.header))
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{report.reporter}>",
        f"To: <{report.to}>",
        f"Subject: {_SUBJECT[_worst(report.fates)]}",
        f"Date: {_date(report.at)}",
        f"Message-ID: <{report.identifier}@{report.reporter}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        "",
    ]
    head = "".join(f"{line}\r\n" for line in lines).encode()
    separator = f"--{boundary}\r\n".encode()
    return head + b"".join(separator + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def _worst(fates: tuple[Fate, ...]) -> Action:
    return min((fate.action for fate in fates), key=list(Action).index)


def _date(at: int) -> str:
    return format_datetime(_EPOCH + timedelta(microseconds=at))


# Part one: for people


def _explanation(report: Report) -> bytes:
    lines = [f"This is the mail gateway at {report.reporter}, about a message that you sent."]
    for action in Action:
        fates = [fate for fate in report.fates if fate.action is action]
        if fates:
            lines += ["", _SENTENCE[action]]
            for fate in fates:
                lines += _about(fate, protected=report.header is None)
    text = "".join(f"{line}\r\n" for line in lines)
    if text.isascii():
        return _part("text/plain; charset=us-ascii", "7bit", text.encode())
    encoded = base64.encodebytes(text.encode()).replace(b"\n", b"\r\n")
    return _part("text/plain; charset=utf-8", "base64", encoded)


def _about(fate: Fate, *, protected: bool) -> Iterator[str]:
    yield ""
    yield f"  {fate.recipient.address}"
    if fate.reason is not None:
        explanation = REASONS[fate.reason]
        yield f"    {explanation.public} ({_status_code(fate)})."
        if explanation.owner == "sender" and not fate.reply:
            yield f"    What you can do: {explanation.next_step}."
    said = _said(fate, protected=protected)
    if said:
        yield f"    The next mail server said: {said}"


# Part two: for programs (RFC 3464 2)


def _status(report: Report) -> bytes:
    lines = [f"Reporting-MTA: dns; {report.reporter}"]
    if report.envid:
        lines.insert(0, f"Original-Envelope-Id: {_printable(_xtext(report.envid))}")
    lines.append(f"Arrival-Date: {_date(report.arrived)}")
    for fate in report.fates:
        lines.append("")
        lines += _fields(fate, report)
    return _part("message/delivery-status", "7bit", "".join(f"{line}\r\n" for line in lines).encode("ascii"))


def _fields(fate: Fate, report: Report) -> Iterator[str]:
    if fate.recipient.orcpt:
        yield f"Original-Recipient: {_original(fate.recipient.orcpt)}"
    yield f"Final-Recipient: {_typed(fate.recipient.address)}"
    yield f"Action: {fate.action}"
    yield f"Status: {_status_code(fate)}"
    if fate.host:
        yield f"Remote-MTA: dns; {_printable(fate.host.rpartition(':')[0] or fate.host)}"  # RFC 3464 2.3.5: a name, no port
    said = _said(fate, protected=report.header is None)
    if said:
        yield f"Diagnostic-Code: smtp; {said}"
    elif fate.reason is not None:
        yield f"Diagnostic-Code: x-smime-gateway; {REASONS[fate.reason].public}"
    yield f"Last-Attempt-Date: {_date(report.at)}"
    if fate.until is not None:
        yield f"Will-Retry-Until: {_date(fate.until)}"


def _status_code(fate: Fate) -> str:
    """The hop's own code where its class says the same as the action; else that of our reason."""
    wanted = _CLASS[fate.action]
    found = _REPLY.match(fate.reply)
    if found and found[1] == wanted:
        return found[2] or f"{wanted}.0.0"
    return f"{wanted}.{REASONS[fate.reason].status}" if fate.reason is not None else f"{wanted}.0.0"


def _said(fate: Fate, *, protected: bool) -> str:
    """The hop's reply in printable ASCII; "" where ``reply`` is none."""
    found = _REPLY.match(fate.reply)
    if found is None:
        return ""
    return found[0] if protected else _printable(fate.reply)[:MAX_DIAGNOSTIC].rstrip()


def _typed(address: Address) -> str:
    """An address with its type (RFC 3464 2.1.2); beyond ASCII as utf-8-addr-xtext, which 7-bit reports carry (RFC 6533 3)."""
    text = str(address)
    return f"rfc822; {text}" if text.isascii() else f"utf-8; {_utf8_xtext(text)}"


def _utf8_xtext(text: str) -> str:
    return re.sub(r"[^!-*,-<>-\[\]-~]", lambda found: f"\\x{{{ord(found[0]):02X}}}", text)


def _original(orcpt: str) -> str:
    """ORCPT (``type;xtext``) as Original-Recipient: the same type, the address decoded (RFC 3461 4.2)."""
    kind, _, value = orcpt.partition(";")
    if kind.lower() == "utf-8":
        return f"utf-8; {re.sub(r'[^!-~]', lambda found: f'{chr(92)}x{{{ord(found[0]):02X}}}', value)}"
    return f"{_printable(kind)}; {_printable(_xtext(value))}"


def _xtext(text: str) -> str:
    """The text that xtext (RFC 3461 4) stands for."""
    return _HEX.sub(lambda found: chr(int(found[1], 16)), text)


def _printable(text: str) -> str:
    return _UNSAFE.sub("?", text)


# Part three: what is returned (RFC 6522 4)


def _returned(header: Header) -> bytes:
    """The fields of ``RETURNED``, as they were; those beyond ASCII or beyond ``MAX_RETURNED`` bytes in all are left out."""
    kept, size = [], 0
    for field in header.fields:
        if field.name.lower() in _KEPT and field.raw.isascii() and size + len(field.raw) <= MAX_RETURNED:
            kept.append(field.raw)
            size += len(field.raw)
    return _part("text/rfc822-headers", "7bit", b"".join(kept))


_KEPT: Final = frozenset(name.lower() for name in RETURNED)


def _part(kind: str, encoding: str, content: bytes) -> bytes:
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + content
