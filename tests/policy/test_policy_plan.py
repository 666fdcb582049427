"""What becomes of one recipient's copy: rules in order, the defaults, and what may be said before the header is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import Missing, Protection
from gateway.config.words import Mode
from gateway.mail.address import Address, parse_address
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection, Headers
from gateway.mail.envelope import Direction, NextHop
from gateway.mail.message import MAX_HEADER, Header, read_header
from gateway.outcome import Reason, Refuse
from gateway.policy import Plan, Undecided, answer_key
from gateway.policy.plan import DEFAULT_INBOUND, DEFAULT_OUTSIDE, DEFAULT_UNPROTECTED, DEFAULT_ZONE, REPORT
from tests.policy.world import LAB, OUTSIDE, SENDER, WORLD, asked, header, world

PEER = NextHop("lab", "health")
SMARTHOST = NextHop("smarthost")
BILLING = parse_address("billing@hospital.example")
PLAIN: dict[str, Any] = {"name": "plain", "protect": "unprotected"}
HIDDEN, SHOWN = HeaderProtection(Headers.BASELINE), HeaderProtection(Headers.NONE)  # by default, encrypted and signed only
URGENT: dict[str, Any] = {"name": "secret", "when": {"subject": "[secret]"}, "protect": "both", "missing": "hold"}


def reason(answer: object) -> Reason:
    assert isinstance(answer, Refuse)
    return answer.reason


def test_to_a_zone_everything_is_signed_and_encrypted_or_refused() -> None:
    answer = asked(world(), LAB, header())
    assert answer == Plan("default-zone", Protection.BOTH, Missing.REFUSE, PEER, "health", "hospital", headers=HIDDEN)


def test_a_domain_in_two_zones_belongs_to_the_first() -> None:
    assert asked(world(), parse_address("a@laboratory.example")) == Plan(
        "default-zone", Protection.BOTH, Missing.REFUSE, PEER, "health", headers=HIDDEN
    )


def test_a_domain_below_that_of_a_peer_is_not_of_the_peer() -> None:
    answer = asked(world(), parse_address("a@sub.laboratory.example"), header())
    assert isinstance(answer, Plan)
    assert answer.hop == SMARTHOST


def test_outside_only_a_key_that_names_the_author_signs() -> None:
    named = asked(world(), OUTSIDE, header(author="Billing <BILLING@hospital.example>"), sender=BILLING)
    assert named == Plan("default-outside", Protection.SIGN, Missing.REFUSE, SMARTHOST, None, "billing", headers=SHOWN)
    other = asked(world(), OUTSIDE, header())
    assert other == Plan("default-outside-unprotected", Protection.UNPROTECTED, Missing.REFUSE, SMARTHOST)


@pytest.mark.parametrize(
    "line",
    [
        "Auto-Submitted: auto-replied",
        "auto-submitted: auto-generated (x)",
        "List-Id: <l.example>",
        "Precedence: Bulk",
        "Precedence: list",
    ],
)
def test_outside_lists_and_automatic_replies_are_never_signed(line: str) -> None:
    answer = asked(world(), OUTSIDE, header(line, author="billing@hospital.example"), sender=BILLING)
    assert isinstance(answer, Plan)
    assert answer.rule == "default-outside-unprotected"


def test_outside_a_report_is_never_signed() -> None:
    answer = asked(world(), OUTSIDE, header(author="billing@hospital.example"), sender=None)
    assert isinstance(answer, Plan)
    assert answer.rule == "default-outside-unprotected"


def test_auto_submitted_no_is_a_person() -> None:
    answer = asked(world(), OUTSIDE, header("Auto-Submitted: No", author="billing@hospital.example"), sender=BILLING)
    assert isinstance(answer, Plan)
    assert answer.protection is Protection.SIGN


def test_an_ambiguous_from_is_not_signed_outside_and_refused_where_signing_is_asked() -> None:
    twice = header("From: billing@hospital.example")
    outside = asked(world(), OUTSIDE, twice)
    assert isinstance(outside, Plan)
    assert outside.protection is Protection.UNPROTECTED
    assert reason(asked(world(), LAB, twice)) is Reason.FROM_AMBIGUOUS
    assert reason(asked(world(), LAB, header(author=None))) is Reason.FROM_AMBIGUOUS


def test_a_from_that_is_not_ours_is_never_signed() -> None:
    foreign = header(author="results@laboratory.example")
    assert reason(asked(world(), LAB, foreign)) is Reason.SENDER_NOT_ALLOWED
    assert reason(asked(world({**PLAIN, "protect": "sign"}), OUTSIDE, foreign)) is Reason.SENDER_NOT_ALLOWED


def test_a_from_for_which_this_client_may_not_send_is_never_signed() -> None:
    assert reason(asked(world(), LAB, header(), client="ward")) is Reason.SENDER_NOT_ALLOWED
    assert isinstance(asked(world(), LAB, header(), client="mail"), Plan)


def test_a_client_that_went_with_a_reload_signs_nothing() -> None:
    assert reason(asked(world(), LAB, header(), client="gone")) is Reason.SENDER_NOT_ALLOWED


def test_encryption_alone_asks_nothing_of_the_from() -> None:
    answer = asked(world({**PLAIN, "protect": "encrypt"}), LAB, header(author=None))
    assert answer == Plan("plain", Protection.ENCRYPT, Missing.REFUSE, PEER, "health", headers=HIDDEN)


def test_the_key_of_the_mailbox_comes_before_that_of_the_organisation_and_retired_keys_never() -> None:
    answer = asked(world(), LAB, header(author="billing@hospital.example"), sender=BILLING)
    assert isinstance(answer, Plan)
    assert answer.sign_key == "billing"


def test_answers_are_for_the_key_of_the_mailbox_or_of_the_organisation() -> None:
    own = {"purpose": "decrypt", "organisation": "hospital", "certificate": "/c", "addresses": ["billing@hospital.example"]}
    retired = {"purpose": "decrypt", "organisation": "hospital", "certificate": "/c", "retired": True}
    keys = {"old opens": retired} | WORLD["key"] | {"billing opens": own}
    for author, key in (("cardiology@hospital.example", "opens"), ("Billing@hospital.example", "billing opens")):
        assert answer_key(world(key=keys), "hospital", header(author=author)) == key
    assert answer_key(world(key=keys), "hospital", header(author=None)) is None
    none = {name: key for name, key in WORLD["key"].items() if name != "opens"}
    assert answer_key(world(key=none), "hospital", header()) is None


def test_of_several_keys_the_first_counts() -> None:
    """Whether of a mailbox or of the whole organisation; the others are there for mail that was encrypted to them."""
    fields = {"purpose": "decrypt", "organisation": "hospital", "certificate": "/c"}
    both = ["billing@hospital.example", "Cardiology@hospital.example"]
    more = {"two": fields | {"addresses": both}, "late": fields | {"addresses": both[1:]}, "other opens": fields}
    of = {"cardiology": "two", "billing": "two", "radiology": "opens"}
    for author, key in of.items():
        assert answer_key(world(key=WORLD["key"] | more), "hospital", header(author=f"{author}@hospital.example")) == key


def test_without_a_signing_key_what_must_be_signed_is_refused_at_once() -> None:
    assert reason(asked(world(), LAB, None, organisation="clinic")) is Reason.KEY_UNAVAILABLE


def test_a_key_bound_to_another_mailbox_signs_for_nobody_else() -> None:
    keys = {name: key for name, key in WORLD["key"].items() if name != "hospital"}
    assert reason(asked(world(key=keys), LAB, header())) is Reason.KEY_UNAVAILABLE


def test_the_first_rule_that_holds_decides() -> None:
    first = {"name": "first", "when": {"recipient": ["@laboratory.example"]}, "protect": "encrypt", "missing": "defer"}
    answer = asked(world(first, PLAIN), LAB, header())
    assert answer == Plan("first", Protection.ENCRYPT, Missing.DEFER, PEER, "health", headers=HIDDEN)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({}, True),
        ({"direction": "outbound"}, True),
        ({"direction": "inbound"}, False),
        ({"organisation": "hospital"}, True),
        ({"organisation": "clinic"}, False),
        ({"sender": ["cardiology@hospital.example"]}, True),
        ({"sender": ["CARDIOLOGY@Hospital.Example"]}, True),
        ({"sender": ["@hospital.example"]}, True),
        ({"sender": ["@ward.example", "@hospital.example"]}, True),
        ({"sender": ["@*.example"]}, True),
        ({"sender": ["@*.hospital.example"]}, False),
        ({"sender": ["@ospital.example"]}, False),
        ({"sender": ["nurse@hospital.example"]}, False),
        ({"recipient": ["@*.laboratory.example"]}, False),
        ({"recipient": ["@laboratory.example"], "sender": ["@ward.example"]}, False),
        ({"zone": "health"}, True),
        ({"zone": "*"}, True),
        ({"zone": "region"}, False),
        ({"header": {"name": "x-protect"}}, True),
        ({"header": {"name": "X-Protect", "contains": "YES"}}, True),
        ({"header": {"name": "X-Protect", "contains": "no"}}, False),
        ({"header": {"name": "X-Other"}}, False),
        ({"subject": "[SECRET]"}, True),
        ({"subject": "secrets"}, False),
        ({"subject": "[secret]", "header": {"name": "X-Other"}}, False),
    ],
)
def test_all_that_a_rule_says_must_hold(when: dict[str, Any], holds: bool) -> None:
    rule = {"name": "r", "when": when, "protect": "unprotected"}
    head = header("X-Protect: yes please", "Subject: =?utf-8?q?=5Bsecret=5D?= discharge")
    answer = asked(world(rule), LAB, head)
    assert isinstance(answer, Plan)
    assert answer.rule == ("r" if holds else "default-zone")


def test_outside_is_in_no_zone() -> None:
    rule = {"name": "r", "when": {"zone": "*"}, "protect": "encrypt"}
    answer = asked(world(rule), OUTSIDE, header())
    assert isinstance(answer, Plan)
    assert answer.rule == "default-outside-unprotected"


def test_a_null_sender_matches_no_sender_pattern() -> None:
    rule = {"name": "r", "when": {"sender": ["@*.example"]}, "protect": "unprotected"}
    answer = asked(world(rule), LAB, header(), sender=None)
    assert isinstance(answer, Plan)
    assert answer.rule == "default-zone"


@pytest.mark.parametrize("written", ['"patient"@post.example', '"pa\\tient"@POST.example', "PATIENT@post.example"])
@pytest.mark.parametrize("pattern", ["patient@post.example", '"Patient"@post.example'])
def test_a_mailbox_is_meant_however_it_is_written(written: str, pattern: str) -> None:
    rule = {"name": "r", "when": {"recipient": [pattern]}, "protect": "encrypt"}
    answer = asked(world(rule), parse_address(written), header())
    assert isinstance(answer, Plan)
    assert answer.rule == "r"


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"sender": ["cardiology@hospital.example"]}, False),
        ({"sender": ["cardiology+ward2@hospital.example"]}, True),
        ({"sender": ["@hospital.example"]}, True),
        ({"recipient": ["results@laboratory.example"]}, False),
        ({"recipient": ["Results+Urgent@laboratory.example"]}, True),
        ({"recipient": ["@laboratory.example"]}, True),
    ],
)
def test_a_subaddress_is_an_address_of_its_own(when: dict[str, Any], holds: bool) -> None:
    """RFC 5233: what separates it from the mailbox, its mail server alone knows."""
    sender, recipient = parse_address("cardiology+ward2@hospital.example"), parse_address("results+urgent@laboratory.example")
    answer = asked(world({"name": "r", "when": when, "protect": "encrypt"}), recipient, header(), sender=sender)
    assert isinstance(answer, Plan)
    assert answer.rule == ("r" if holds else "default-zone")


def test_a_key_of_a_mailbox_signs_for_no_subaddress_of_it() -> None:
    answer = asked(world(), LAB, header(author="billing+invoices@hospital.example"), sender=BILLING)
    assert isinstance(answer, Plan)
    assert answer.sign_key == "hospital"


def test_no_route_refuses_before_the_header() -> None:
    assert reason(asked(world(), OUTSIDE, None, organisation="clinic")) is Reason.NO_ROUTE
    assert reason(asked(world(URGENT), OUTSIDE, None, organisation="clinic")) is Reason.NO_ROUTE


def test_a_trigger_leaves_it_undecided_at_rcpt_and_says_what_it_could_be() -> None:
    answer = asked(world(URGENT), LAB)
    assert isinstance(answer, Undecided)
    assert [each.rule for each in answer.could_be if isinstance(each, Plan)] == ["secret", "default-zone"]


def test_a_trigger_that_cannot_be_reached_leaves_nothing_undecided() -> None:
    assert isinstance(asked(world(PLAIN, URGENT), LAB), Plan)
    elsewhere = {**URGENT, "when": {"subject": "x", "recipient": ["@post.example"]}}
    assert isinstance(asked(world(elsewhere), LAB), Plan)


@pytest.mark.parametrize(
    "subject",
    [
        "[Sécurisé] résultats",
        "[Se\u0301curise\u0301] re\u0301sultats",  # letters and accents apart, as file names of a Mac are
        "=?utf-8?Q?[S=C3=A9curis=C3=A9]?=",
        "=?utf-8?B?W1PDqWN1?= =?iso-8859-1?Q?ris=E9]?=",
        "=?utf-8?Q?[S=C3=A9cu?= \r\n\t=?utf-8?Q?ris=C3=A9]?=",
        "=?utf-8?Q?[S=C3?= =?utf-8?Q?=A9curis=C3=A9]?=",  # against RFC 2047 5, and put together by readers
        "=?utf-8?Q?[S=C3?=\r\n =?UTF8*fr?B?qWN1cmlzw6ld?=",
        "=?utf-8?B?W1PD?==?utf-8?Q?=A9curis=C3?= =?utf-8?B?qV0=?= =?x-unknown?Q?=E9?=",
        "=?iso-8859-1?Q?r=E9f_?= =?utf-8?Q?[S=C3?= =?utf-8?Q?=A9curis=C3=A9]?=",
        "=?utf-16be?B?AFsAUwDp?= =?utf-16be?B?AGMAdQByAGkAcwA=?= =?utf-16be?B?6QBd?=",
        "=?utf-8?Q?[S=C3=A9curis=C3=A9] re: your call?=",  # spaces, against RFC 2047 2
        "=?iso-8859-8-i?Q?[S=E9curis=E9]?=",  # Outlook's, and unknown to Python
        "=?x-unknown?B?W1PpY3VyaXPpXQ==?=",
        b"[S\xe9curis\xe9]",  # no charset, as from a device
    ],
)
def test_a_trigger_is_found_however_it_was_written(subject: str | bytes) -> None:
    raw = subject if isinstance(subject, bytes) else subject.encode()
    head = read_header(b"From: cardiology@hospital.example\r\nSubject: " + raw + b"\r\n\r\n")
    answer = asked(world({**URGENT, "when": {"subject": "[sécurisé]"}}), OUTSIDE, head)
    assert isinstance(answer, Plan)
    assert answer.rule == "secret"


@pytest.mark.parametrize("subject", ["pièce\u00a0jointe", "PI\u00c8CE JOINTE", "pièce\r\n jointe", "pie\u0300ce jointe"])
def test_a_trigger_of_two_words_is_found_with_any_space_between_them(subject: str) -> None:
    answer = asked(world({**URGENT, "when": {"subject": "pièce jointe"}}), OUTSIDE, header(f"Subject: {subject}"))
    assert isinstance(answer, Plan)
    assert answer.rule == "secret"


def test_a_trigger_is_looked_for_in_time_in_proportion() -> None:
    """A subject of nothing but accents in the wrong order, each of which has to be put where it belongs."""
    subject = "a" + "\u0315\u0316" * ((MAX_HEADER - 200) // 4)
    begun = time.process_time()
    asked(world(URGENT), LAB, header(f"Subject: {subject}"))
    assert time.process_time() - begun < 2


def test_a_word_that_is_not_there_is_not_found_in_what_cannot_be_decoded() -> None:
    answer = asked(world(URGENT), LAB, header("Subject: =?x-unknown?Q?[secre?= t]"))
    assert isinstance(answer, Plan)
    assert answer.rule == "default-zone"


def test_rcpt_refuses_only_if_every_rule_that_could_still_hold_refuses() -> None:
    answer = asked(world({**URGENT, "protect": "encrypt"}), LAB, None, organisation="clinic")
    assert isinstance(answer, Undecided)
    assert reason(asked(world(URGENT), LAB, None, organisation="clinic")) is Reason.KEY_UNAVAILABLE


def test_outside_the_author_decides_so_that_rcpt_cannot() -> None:
    answer = asked(world(), OUTSIDE)
    assert isinstance(answer, Undecided)
    assert [each.rule for each in answer.could_be if isinstance(each, Plan)] == ["default-outside", "default-outside-unprotected"]
    assert isinstance(asked(world(), OUTSIDE, sender=None), Plan)


@pytest.mark.parametrize("head", [None, header(), header("Subject: [secret]"), header(author="billing@hospital.example")])
@pytest.mark.parametrize("recipient", [LAB, OUTSIDE])
@pytest.mark.parametrize("rules", [(), (URGENT,), (URGENT, PLAIN)])
def test_what_the_header_decides_was_among_what_could_be(head: Header | None, recipient: Address, rules: tuple[Any, ...]) -> None:
    before, after = asked(world(*rules), recipient), asked(world(*rules), recipient, head)
    possible = before.could_be if isinstance(before, Undecided) else (before,)
    if isinstance(after, Plan):
        assert after.rule in {each.rule for each in possible if isinstance(each, Plan)}


def test_inbound_goes_to_the_mail_server_and_is_opened() -> None:
    answer = asked(world(PLAIN), SENDER, header(author="results@laboratory.example"), sender=LAB, direction=Direction.INBOUND)
    assert answer == Plan("default-inbound", Protection.BOTH, Missing.REFUSE, NextHop("mailbox"))


def test_inbound_is_left_alone_only_by_a_rule_that_says_inbound() -> None:
    alone = {"name": "alone", "when": {"direction": "inbound", "zone": "health"}, "protect": "unprotected"}
    answer = asked(world(alone), SENDER, header(), sender=LAB, direction=Direction.INBOUND, zone="health")
    assert isinstance(answer, Plan)
    assert answer.protection is Protection.UNPROTECTED
    stranger = asked(world(alone), SENDER, header(), sender=LAB, direction=Direction.INBOUND)
    assert isinstance(stranger, Plan)
    assert stranger.protection is Protection.BOTH


def test_inbound_with_a_trigger_waits_for_the_header() -> None:
    alone = {"name": "alone", "when": {"direction": "inbound", "subject": "x"}, "protect": "unprotected"}
    assert isinstance(asked(world(alone), SENDER, None, sender=LAB, direction=Direction.INBOUND), Undecided)


@pytest.mark.parametrize(("recipient", "hop"), [(SENDER, NextHop("mailbox")), (LAB, PEER), (OUTSIDE, SMARTHOST)])
def test_a_report_goes_back_to_its_reader_by_no_rule_of_mail(recipient: Address, hop: NextHop) -> None:
    answer = asked(world(URGENT), recipient, None, sender=None, direction=Direction.REPORT)
    assert isinstance(answer, Plan)
    assert answer.hop == hop
    assert answer.rule == "report-unprotected"


def test_an_organisation_that_went_with_a_reload_is_refused() -> None:
    assert reason(asked(world(), LAB, header(), organisation="gone")) is Reason.POLICY_REFUSE


def test_every_default_is_on_the_page_for_administrators() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    for name in (DEFAULT_ZONE, DEFAULT_OUTSIDE, DEFAULT_UNPROTECTED, DEFAULT_INBOUND, REPORT):
        assert f"`{name}`" in page


# Rules that only observe

TRIAL: dict[str, Any] = {"name": "trial", "protect": "both", "missing": "hold", "mode": "observe"}


def test_a_rule_that_observes_plans_what_it_would_do() -> None:
    answer = asked(world(TRIAL), LAB, header())
    assert answer == Plan("trial", Protection.BOTH, Missing.HOLD, PEER, "health", "hospital", Mode.OBSERVE, headers=HIDDEN)
    enforced = asked(world({**TRIAL, "mode": "enforce"}), LAB, header())
    assert enforced == Plan("trial", Protection.BOTH, Missing.HOLD, PEER, "health", "hospital", Mode.ENFORCE, headers=HIDDEN)


@pytest.mark.parametrize("known", [True, False])
def test_a_rule_that_observes_refuses_nothing_and_knows_why_it_would(known: bool) -> None:
    """Neither after DATA nor at RCPT, where an enforced rule without a key refuses at once."""
    keys = {name: key for name, key in WORLD["key"].items() if key["purpose"] != "sign"}
    head = header() if known else None
    answer = asked(world(TRIAL, key=keys), LAB, head)
    assert isinstance(answer, Plan)
    assert answer.refusal is not None
    assert answer.refusal.reason is Reason.KEY_UNAVAILABLE
    assert reason(asked(world({**TRIAL, "mode": "enforce"}, key=keys), LAB, head)) is Reason.KEY_UNAVAILABLE


def test_a_rule_that_observes_makes_no_route() -> None:
    assert reason(asked(world(TRIAL), OUTSIDE, header(), organisation="clinic")) is Reason.NO_ROUTE


def test_a_mail_that_an_observed_trigger_does_not_match_is_for_the_rules_below() -> None:
    answer = asked(world({**TRIAL, "when": {"subject": "[secret]"}}), LAB, header("Subject: discharge"))
    assert isinstance(answer, Plan)
    assert (answer.rule, answer.mode) == ("default-zone", Mode.ENFORCE)


# Header fields


def organisation(**said: object) -> dict[str, Any]:
    return {**WORLD["organisation"], "hospital": {**WORLD["organisation"]["hospital"], **said}}


@pytest.mark.parametrize(
    ("protect", "rule", "own", "wanted"),
    [
        ("both", {}, {}, HeaderProtection(Headers.BASELINE)),
        ("encrypt", {}, {"headers": "shy", "legacy_display": True}, HeaderProtection(Headers.SHY, legacy_display=True)),
        ("both", {"headers": "none"}, {"headers": "shy", "legacy_display": True}, HeaderProtection(Headers.NONE)),
        ("both", {"headers": "off"}, {}, NOT_PROTECTED),
        ("both", {"headers": "shy"}, {"headers": "off"}, HeaderProtection(Headers.SHY)),
        ("both", {"legacy_display": True}, {}, HeaderProtection(Headers.BASELINE, legacy_display=True)),
        ("both", {"legacy_display": False}, {"legacy_display": True}, HeaderProtection(Headers.BASELINE)),
        ("both", {"legacy_display": True}, {"headers": "none"}, HeaderProtection(Headers.NONE)),
        ("sign", {}, {"headers": "shy", "legacy_display": True}, HeaderProtection(Headers.NONE)),
        ("sign", {"headers": "off"}, {}, NOT_PROTECTED),
        ("sign", {}, {"headers": "off"}, NOT_PROTECTED),
        ("unprotected", {}, {"headers": "shy", "legacy_display": True}, NOT_PROTECTED),
    ],
)
def test_header_fields_as_the_rule_says_and_else_the_organisation(
    protect: str, rule: dict[str, Any], own: dict[str, Any], wanted: HeaderProtection
) -> None:
    answer = asked(world({"name": "r", "protect": protect, **rule}, organisation=organisation(**own)), LAB, header())
    assert isinstance(answer, Plan)
    assert answer.headers == wanted


def test_without_a_rule_the_organisation_decides_about_header_fields() -> None:
    answer = asked(world(organisation=organisation(headers="shy")), LAB, header())
    assert isinstance(answer, Plan)
    assert (answer.rule, answer.headers) == ("default-zone", HeaderProtection(Headers.SHY))
