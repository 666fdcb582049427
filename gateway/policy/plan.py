"""What becomes of one recipient's copy of a mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from gateway.config.model import Config, KeyPurpose, Missing, Protection, Rule
from gateway.config.words import Mode
from gateway.mail.address import Address
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection, Headers
from gateway.mail.envelope import Direction, NextHop
from gateway.mail.message import Header, from_address
from gateway.outcome import Defer, GatewayError, Hold, Reason, Refuse
from gateway.policy.rules import Known, matching
from gateway.smime.message import SignedForm
from gateway.trust.ladder import Rung

DEFAULT_ZONE: Final = "default-zone"
DEFAULT_OUTSIDE: Final = "default-outside"
DEFAULT_UNPROTECTED: Final = "default-outside-unprotected"
DEFAULT_INBOUND: Final = "default-inbound"
REPORT: Final = "report-unprotected"

TEMPORARY: Final = frozenset({Reason.DIRECTORY_UNAVAILABLE, Reason.REVOCATION_UNKNOWN, Reason.NOT_YET_VALID})
"""Why a certificate cannot be had now, although it may be there. To a clock that is behind, none is valid yet."""

_TO_CHOOSE: Final = frozenset({Reason.APPROVAL_PENDING, Reason.CERTIFICATE_AMBIGUOUS})
"""There are certificates, and a person is to say which: that is not missing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. ``rule`` is its name, ``zone`` that of the recipient, ``sign_key`` a key's name in the configuration.

    ``sign_key`` is None where nothing is signed, and as long as the header is not known: the From chooses the key. Inbound,
    ``protection`` UNPROTECTED means that the mail is left alone, anything else that it is opened and judged.

    ``headers``: what becomes of the header fields of what is signed or encrypted; ``signed_form``: how what is signed is written.

    In ``mode`` OBSERVE the copy leaves as it is, and what the rest of the plan asks for is only recorded; ``refusal`` is then why
    the rule would have refused it. ``least`` is the lowest rung a certificate is taken from, None where the rule does not say.
    """

    rule: str
    protection: Protection
    missing: Missing
    hop: NextHop
    zone: str | None = None
    sign_key: str | None = None
    mode: Mode = Mode.ENFORCE
    refusal: Refuse | None = None
    headers: HeaderProtection = NOT_PROTECTED
    signed_form: SignedForm = SignedForm.CLEAR
    least: Rung | None = None


@dataclass(frozen=True, slots=True)
class Undecided:
    """The header must be known first. ``could_be`` is everything it may still become."""

    could_be: tuple[Plan | Refuse, ...]


def plan(config: Config, known: Known) -> Plan | Undecided | Refuse:
    """What to do with one recipient's copy.

    With the header unknown the answer is a refusal only where no header could change it.
    """
    if known.organisation not in config.organisation:
        return Refuse(Reason.POLICY_REFUSE, f"organisation {known.organisation} is no longer configured")
    if known.direction is Direction.INBOUND:
        return _inbound(config, known)
    hop, zone = _route(config, known)
    if hop is None:
        return Refuse(Reason.NO_ROUTE, f"{known.recipient.domain} is in no zone, and {known.organisation} has no outbound route")
    if known.direction is Direction.REPORT:
        return Plan(REPORT, Protection.UNPROTECTED, Missing.REFUSE, hop, zone)
    answers = tuple(_finish(config, known, draft) for draft in _drafts(config, known, hop, zone))
    if len(answers) == 1 or all(isinstance(answer, Refuse) for answer in answers):
        return answers[-1]
    return answers[0] if len(set(answers)) == 1 else Undecided(answers)


def answer_key(config: Config, organisation: str, header: Header) -> str | None:
    """The name of the key that opens answers to this mail; None where ``organisation`` has none for its From."""
    author = _author(header)
    return _key_of(config, organisation, KeyPurpose.DECRYPT, author) if isinstance(author, Address) else None


def is_automatic(sender: Address | None, header: Header) -> bool:
    """Whether the mail was sent by a program: a report, an automatic reply (RFC 3834), a mailing list (RFC 2919), bulk."""
    answered = header.first("Auto-Submitted")
    if sender is None or (answered is not None and answered.text.split(";")[0].strip().lower() != "no"):
        return True
    precedence = header.first("Precedence")
    bulk = precedence is not None and precedence.text.strip().lower() in {"bulk", "list", "junk"}
    return bulk or header.first("List-Id") is not None


def without_certificate(planned: Plan, reason: Reason, detail: str) -> Refuse | Hold | Defer | None:
    """What becomes of a recipient to whom nothing can be encrypted, for ``reason``; None: it leaves unprotected, by the rule.

    What passes by itself is waited for, whatever the rule says of a missing certificate: an outage is no reason for clear text.
    """
    told = f"rule {planned.rule}: {detail}"
    if reason in TEMPORARY or planned.missing is Missing.DEFER:
        return Defer(reason, told)
    match planned.missing:
        case Missing.HOLD:
            return Hold(reason, told)
        case Missing.UNPROTECTED:
            return Hold(reason, told) if reason in _TO_CHOOSE else None
        case _:
            return Refuse(reason, told)


def opening_key(config: Config, organisation: str, header: Header) -> str | None:
    """As :func:`answer_key`; where the From is not one address, the key of the whole organisation."""
    return answer_key(config, organisation, header) or _common_key(config, organisation, KeyPurpose.DECRYPT)


def _inbound(config: Config, known: Known) -> Plan | Undecided:
    hop = NextHop(config.organisation[known.organisation].mail_server)
    default = Plan(DEFAULT_INBOUND, Protection.BOTH, Missing.REFUSE, hop)
    rules, decided = matching(config, known, known.zone)
    could_be = [Plan(rule.name, rule.protect, rule.missing, hop) for rule in rules]
    if not decided:
        could_be.append(default)
    return could_be[0] if len(could_be) == 1 else Undecided(tuple(could_be))


def _route(config: Config, known: Known) -> tuple[NextHop | None, str | None]:
    """The next hop of the recipient, and its zone. A report to a mailbox of ours goes to the mail server."""
    organisation = config.organisation[known.organisation]
    if known.direction is Direction.REPORT and known.recipient.domain in organisation.domains:
        return NextHop(organisation.mail_server), None
    found = config.peers.get(known.recipient.domain)
    if found is not None:
        zone, peer = found
        return NextHop(peer, zone), zone
    return (NextHop(organisation.outbound) if organisation.outbound else None), None


def _drafts(config: Config, known: Known, hop: NextHop, zone: str | None) -> Iterator[Plan]:
    """Every plan that may still be the one, in order; exactly one when the header is known."""
    rules, decided = matching(config, known, zone)
    organisation_form = config.organisation[known.organisation].signed_form
    for rule in rules:
        headers, form = _headers(config, known, rule.protect, rule), rule.signed_form or organisation_form
        yield Plan(
            rule.name,
            rule.protect,
            rule.missing,
            hop,
            zone,
            mode=rule.mode,
            headers=headers,
            signed_form=form,
            least=rule.least_trust,
        )
    if decided:
        return
    if zone is not None:
        headers = _headers(config, known, Protection.BOTH)
        yield Plan(DEFAULT_ZONE, Protection.BOTH, Missing.REFUSE, hop, zone, headers=headers, signed_form=organisation_form)
        return
    # Outside a zone only a certificate that names the From is shown: any other looks like a broken signature to its reader
    if known.header is None:
        personal = known.sender is not None and any(_keys(config, known.organisation, KeyPurpose.SIGN))
    else:
        author = _author(known.header)
        personal = (
            isinstance(author, Address)
            and _personal_key(config, known.organisation, KeyPurpose.SIGN, author) is not None
            and not is_automatic(known.sender, known.header)
        )
    if personal:
        headers = _headers(config, known, Protection.SIGN)
        yield Plan(DEFAULT_OUTSIDE, Protection.SIGN, Missing.REFUSE, hop, headers=headers, signed_form=organisation_form)
    if not personal or known.header is None:
        yield Plan(DEFAULT_UNPROTECTED, Protection.UNPROTECTED, Missing.REFUSE, hop)


def _headers(config: Config, known: Known, protection: Protection, rule: Rule | None = None) -> HeaderProtection:
    """What becomes of header fields: as the rule says, or else its organisation. What is not encrypted hides nothing."""
    organisation = config.organisation[known.organisation]
    policy = rule.headers if rule is not None and rule.headers is not None else organisation.headers
    if protection is Protection.UNPROTECTED or policy is Headers.OFF:
        return NOT_PROTECTED
    if protection is Protection.SIGN:
        return HeaderProtection(Headers.NONE)
    legacy = rule.legacy_display if rule is not None and rule.legacy_display is not None else organisation.legacy_display
    return HeaderProtection(policy, legacy and policy.hides)


def _finish(config: Config, known: Known, draft: Plan) -> Plan | Refuse:
    """``draft`` with its signing key, or why it cannot be signed: a refusal, unless its rule only observes."""
    finished = _signed(config, known, draft)
    if isinstance(finished, Refuse) and draft.mode is Mode.OBSERVE:
        return replace(draft, refusal=finished)
    return finished


def _signed(config: Config, known: Known, draft: Plan) -> Plan | Refuse:
    if draft.protection not in (Protection.BOTH, Protection.SIGN):
        return draft
    if not _keys(config, known.organisation, KeyPurpose.SIGN):
        return Refuse(Reason.KEY_UNAVAILABLE, f"{known.organisation} has no key with purpose = 'sign'")
    if known.header is None:
        return draft
    author = _author(known.header)
    if isinstance(author, Refuse):
        return author
    if author.domain not in _own_domains(config, known):
        return Refuse(
            Reason.SENDER_NOT_ALLOWED, f"From is of {author.domain}, for which {known.client or 'nobody here'} may not sign"
        )
    key = _key_of(config, known.organisation, KeyPurpose.SIGN, author)
    if key is None:
        return Refuse(Reason.KEY_UNAVAILABLE, f"no key of {known.organisation} is for this From or for the whole organisation")
    return replace(draft, sign_key=key)


def _author(header: Header) -> Address | Refuse:
    try:
        return from_address(header)
    except GatewayError as error:
        return Refuse(error.reason, error.detail)


def _own_domains(config: Config, known: Known) -> tuple[str, ...]:
    """The domains that may stand in the From of what we sign: those of the client; without one, those of the organisation."""
    if known.client is None:
        return config.organisation[known.organisation].domains
    client = config.client.get(known.client)
    return client.may_send_for if client else ()


def _keys(config: Config, organisation: str, purpose: KeyPurpose) -> Mapping[str, str]:
    """By whose they are; see ``Config.keys_in_use``."""
    return config.keys_in_use.get((organisation, purpose), {})


def _key_of(config: Config, organisation: str, purpose: KeyPurpose, author: Address) -> str | None:
    """The author's own, else the one of the whole organisation."""
    return _personal_key(config, organisation, purpose, author) or _common_key(config, organisation, purpose)


def _personal_key(config: Config, organisation: str, purpose: KeyPurpose, author: Address) -> str | None:
    return _keys(config, organisation, purpose).get(author.key)


def _common_key(config: Config, organisation: str, purpose: KeyPurpose) -> str | None:
    return _keys(config, organisation, purpose).get("")
