"""Reports, read back by Python's email package, which knows nothing of how they were made."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage, Message
from typing import cast

import pytest

from gateway.mail.address import parse_address
from gateway.mail.dsn import Action, Fate, Report, build_report, report_envelope, wants_report
from gateway.mail.envelope import Recipient
from gateway.mail.identifier import make_mail_id
from gateway.mail.message import read_header
from gateway.outcome import REASONS, Reason

SENDER = parse_address("cardiology@hospital.example")
RESULTS = Recipient(parse_address("results@laboratory.example"))
AT = 1_772_366_400_000_000  # 2026-03-01 12:00:00 UTC
HEADER = read_header(
    b"Received: from inside.hospital.example\r\n"
    b"From: cardiology@hospital.example\r\nTo: results@laboratory.example\r\n"
    b"Subject: Discharge\r\n letter\r\nMessage-ID: <1@hospital.example>\r\nBcc: archive@hospital.example\r\n"
    b"Comments: \xc3\xa9\r\nDate: Sun, 1 Mar 2026 11:59:00 +0000\r\nX-Secret: y\r\n\r\nThe body\r\n"
)
REPORT = Report(
    reporter="gateway.hospital.example",
    identifier=make_mail_id(AT, bytes(10)),
    at=AT,
    to=SENDER,
    arrived=AT - 60_000_000,
    fates=(Fate(RESULTS, Action.FAILED, Reason.HOP_REFUSED, "550 5.1.1 No such user", "mx.laboratory.example:25"),),
    header=HEADER,
)


def parse(report: Report) -> EmailMessage:
    data = build_report(report)
    assert data.count(b"\n") == data.count(b"\r\n")
    assert max(len(line) for line in data.split(b"\r\n")) <= 998
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def parts(report: Report) -> list[EmailMessage]:
    return [cast(EmailMessage, part) for part in parse(report).iter_parts()]


def status(report: Report) -> list[Message]:
    """The groups of fields of message/delivery-status: the mail's, then one for each recipient."""
    return cast(list[Message], parts(report)[1].get_payload())


def test_a_report_is_a_mail_like_any_other_and_says_it_is_automatic() -> None:
    message = parse(REPORT)
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message["From"].addresses[0].addr_spec == "MAILER-DAEMON@gateway.hospital.example"
    assert message["To"].addresses[0].addr_spec == "cardiology@hospital.example"
    assert message["Subject"] == "Your message could not be delivered"
    assert message["Date"].datetime.isoformat() == "2026-03-01T12:00:00+00:00"
    assert message["Message-ID"] == f"<{REPORT.identifier}@gateway.hospital.example>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["MIME-Version"] == "1.0"
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]


def test_the_status_part_has_every_field_a_program_needs() -> None:
    mail, person = status(replace(REPORT, envid="mail+2B1"))
    assert dict(mail.items()) == {
        "Original-Envelope-Id": "mail+1",
        "Reporting-MTA": "dns; gateway.hospital.example",
        "Arrival-Date": "Sun, 01 Mar 2026 11:59:00 +0000",
    }
    assert dict(person.items()) == {
        "Final-Recipient": "rfc822; results@laboratory.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.laboratory.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user",
        "Last-Attempt-Date": "Sun, 01 Mar 2026 12:00:00 +0000",
    }


def test_the_text_tells_a_person_who_and_why() -> None:
    text = parts(REPORT)[0].get_content()
    assert "results@laboratory.example" in text
    assert REASONS[Reason.HOP_REFUSED].public in text
    assert "550 5.1.1 No such user" in text


def test_only_listed_header_fields_return_and_no_body_ever() -> None:
    returned = email.message_from_string(parts(REPORT)[2].get_content())
    assert returned.keys() == ["From", "To", "Subject", "Message-ID", "Date"]
    assert b"The body" not in build_report(REPORT)
    assert b"archive@" not in build_report(REPORT)


def test_of_a_protected_mail_nothing_returns_and_of_the_hops_words_only_the_numbers() -> None:
    """A hop may quote the Subject in what it says."""
    fate = Fate(RESULTS, Action.FAILED, Reason.HOP_REFUSED, "550 5.7.1 Rejected: Discharge letter", "mail.hospital.example:25")
    report = replace(REPORT, header=None, fates=(fate,))
    assert [part.get_content_type() for part in parts(report)] == ["text/plain", "message/delivery-status"]
    assert b"Discharge" not in build_report(report)
    assert status(report)[1]["Diagnostic-Code"] == "smtp; 550 5.7.1"


@pytest.mark.parametrize(
    ("action", "reason", "reply", "code", "diagnostic"),
    [
        (Action.FAILED, Reason.NO_CERTIFICATE, "", "5.7.5", "x-smime-gateway; No usable certificate for this recipient"),
        (Action.FAILED, Reason.HOP_REFUSED, "554 no", "5.0.0", "smtp; 554 no"),
        (Action.FAILED, Reason.GAVE_UP, "450 4.2.1 busy", "5.4.7", "smtp; 450 4.2.1 busy"),
        (Action.FAILED, Reason.HOP_REFUSED, "550 4.1.1 odd", "5.0.0", "smtp; 550 4.1.1 odd"),
        (Action.FAILED, Reason.TLS_FAILED, "gateway:465: certificate", "5.7.5", None),
        (Action.DELAYED, Reason.HOP_DEFERRED, "451 4.3.0 later", "4.3.0", "smtp; 451 4.3.0 later"),
        (Action.DELAYED, Reason.DIRECTORY_UNAVAILABLE, "", "4.4.3", "x-smime-gateway; Certificate directory unavailable"),
        (Action.RELAYED, None, "250 2.0.0 ok", "2.0.0", "smtp; 250 2.0.0 ok"),
        (Action.DELIVERED, None, "", "2.0.0", None),
    ],
)
def test_status_and_diagnostic_follow_the_action(
    action: Action, reason: Reason | None, reply: str, code: str, diagnostic: str | None
) -> None:
    person = status(replace(REPORT, fates=(Fate(RESULTS, action, reason, reply),)))[1]
    assert (person["Action"], person["Status"]) == (action, code)
    if diagnostic is not None:
        assert person["Diagnostic-Code"] == diagnostic


def test_several_recipients_each_have_their_own_group_and_the_worst_gives_the_subject() -> None:
    other = Recipient(parse_address("x@laboratory.example"), orcpt="rfc822;old+2Bx@laboratory.example")
    report = replace(REPORT, fates=(Fate(other, Action.DELAYED, Reason.HOP_DEFERRED, "450 later"), *REPORT.fates))
    assert parse(report)["Subject"] == "Your message could not be delivered"
    assert [group["Action"] for group in status(report)[1:]] == ["delayed", "failed"]
    assert status(report)[1]["Original-Recipient"] == "rfc822; old+x@laboratory.example"


def test_addresses_beyond_ascii_are_written_as_rfc_6533_has_them() -> None:
    """RFC 6533 3: utf-8-addr-xtext in a 7-bit report; the text part shows the address itself."""
    wide = Recipient(parse_address("dépôt@laboratory.example"), orcpt="utf-8;d\\x{E9}p\\x{F4}t@laboratory.example")
    report = replace(REPORT, fates=(Fate(wide, Action.FAILED, Reason.RECIPIENT_UNKNOWN),))
    assert build_report(report).isascii()
    person = status(report)[1]
    assert person["Final-Recipient"] == "utf-8; d\\x{E9}p\\x{F4}t@laboratory.example"
    assert person["Original-Recipient"] == "utf-8; d\\x{E9}p\\x{F4}t@laboratory.example"
    assert "dépôt@laboratory.example" in parts(report)[0].get_content()


def test_a_reader_beyond_ascii_needs_smtputf8() -> None:
    to = parse_address("urgences@hôpital.example"), parse_address("réception@hospital.example")
    assert [report_envelope(address).smtputf8 for address in to] == [False, True]
    assert "To: <réception@hospital.example>\r\n".encode() in build_report(replace(REPORT, to=to[1]))


def test_a_report_travels_under_the_null_reverse_path() -> None:
    envelope = report_envelope(SENDER)
    assert envelope.sender is None
    assert [recipient.address for recipient in envelope.recipients] == [SENDER]


@pytest.mark.parametrize("notify", ["", "NEVER", "FAILURE", "DELAY", "SUCCESS", "SUCCESS,FAILURE"])
def test_notify_is_honoured(notify: str) -> None:
    """RFC 3461 4.1, and its default of failures and delays."""
    recipient = replace(RESULTS, notify=frozenset(notify.split(",")) if notify else frozenset())
    told = {action for action in Action if wants_report(SENDER, recipient, action)}
    assert (
        told
        == {
            "": {Action.FAILED, Action.DELAYED},
            "NEVER": set(),
            "FAILURE": {Action.FAILED},
            "DELAY": {Action.DELAYED},
            "SUCCESS": {Action.DELIVERED, Action.RELAYED},
            "SUCCESS,FAILURE": {Action.FAILED, Action.DELIVERED, Action.RELAYED},
        }[notify]
    )
    assert not wants_report(None, recipient, Action.FAILED)


def test_what_a_hop_says_can_add_no_field() -> None:
    fate = Fate(RESULTS, Action.FAILED, Reason.HOP_REFUSED, "550 no\r\nAction: delivered\x1b[2J é " + "x" * 5000)
    person = status(replace(REPORT, fates=(fate,)))[1]
    assert person.get_all("Action") == ["failed"]
    assert "\x1b" not in person["Diagnostic-Code"]


def test_a_huge_header_is_not_returned_whole() -> None:
    header = read_header(b"To: " + b"x@laboratory.example,\r\n " * 5000 + b"y@laboratory.example\r\nSubject: s\r\n\r\n")
    report = replace(REPORT, header=header)
    assert len(build_report(report)) < 20_000


def test_a_report_of_nothing_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="nothing"):
        build_report(replace(REPORT, fates=()))
