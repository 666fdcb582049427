"""``[[rule]]``: what an administrator may say about a mail."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.kinds import OrganisationName, Pattern, RuleName, ZonePattern
from gateway.config.section import Section
from gateway.config.words import Missing, Mode, Protection
from gateway.mail.confidentiality import Headers
from gateway.mail.envelope import Direction
from gateway.smime.message import SignedForm
from gateway.trust.ladder import Rung


class HeaderTrigger(Section):
    """A header field that must be there and, where ``contains`` is given, hold that text in any case."""

    name: Annotated[str, Field(pattern=r"^[!-9;-~]+$")]
    contains: str = ""


class When(Section):
    """All that is given must hold. Addresses are ``local@domain``, ``@domain`` or ``@*.domain``; ``zone = '*'`` is any zone.

    ``sender`` is the reverse-path. ``zone`` is the recipient's, or for inbound mail that of the peer that brought it. Without
    ``direction`` a rule is about outbound mail.
    """

    direction: Literal[Direction.OUTBOUND, Direction.INBOUND] | None = None
    organisation: OrganisationName | None = None
    sender: tuple[Pattern, ...] = ()
    recipient: tuple[Pattern, ...] = ()
    zone: ZonePattern | None = None
    header: HeaderTrigger | None = None
    subject: str | None = None


class Rule(Section):
    """``[[rule]]``: the first whose ``when`` holds decides."""

    name: RuleName
    when: When = When()
    protect: Protection
    missing: Missing = Missing.REFUSE
    mode: Mode = Mode.ENFORCE
    headers: Headers | None = None
    legacy_display: bool | None = None
    signed_form: SignedForm | None = None
    least_trust: Rung | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.when.direction is Direction.INBOUND and self.protect is not Protection.UNPROTECTED:
            raise ValueError("an inbound rule can only say protect = 'unprotected': leave this mail alone")
        if self.mode is Mode.OBSERVE and self.protect is Protection.UNPROTECTED:
            raise ValueError(
                "mode = 'observe' is for a rule that protects: with protect = 'unprotected' there is nothing to observe"
            )
        encrypts = self.protect in (Protection.BOTH, Protection.ENCRYPT)
        if self.headers is not None and (self.protect is Protection.UNPROTECTED or (self.headers.hides and not encrypts)):
            raise ValueError("headers is for a rule that signs or encrypts, and 'baseline' and 'shy' for one that encrypts")
        if self.legacy_display and not (encrypts and (self.headers is None or self.headers.hides)):
            raise ValueError(
                "legacy_display shows what headers = 'baseline' or 'shy' hides of an encrypted mail: here it is nothing"
            )
        if self.signed_form is not None and self.protect not in (Protection.BOTH, Protection.SIGN):
            raise ValueError("signed_form is for a rule that signs")
        if self.least_trust is not None and not encrypts:
            raise ValueError("least_trust is for a rule that encrypts")
        return self
