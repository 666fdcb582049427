"""Header Confidentiality Policies (RFC 9788 3): what of a header field that is protected is shown outside the encryption."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.mail.message import Field


class Headers(StrEnum):
    """What becomes of the header fields of a message that is signed or encrypted.

    ``OFF``: they are not protected. All others protect them: they stand in the signed content too, and of an encrypted message are
    shown outside as they are (``NONE``: hcp_no_confidentiality), without the subject (``BASELINE``: hcp_baseline), or without the
    names of people and the time zone either (``SHY``: hcp_shy).
    """

    OFF = "off"
    NONE = "none"
    BASELINE = "baseline"
    SHY = "shy"

    @property
    def hides(self) -> bool:
        """Whether some field is not shown outside as it is."""
        return self in (Headers.BASELINE, Headers.SHY)


@dataclass(frozen=True, slots=True)
class HeaderProtection:
    """What is asked for. ``legacy_display``: fields that are hidden outside are repeated in the text, for mail programs that do not
    know of protected ones (RFC 9788 2.1.2).
    """

    policy: Headers = Headers.OFF
    legacy_display: bool = False


NOT_PROTECTED: Final = HeaderProtection()


# A display name of atoms, dots, spaces and quoted strings, then the addr-spec; or that alone, with the name behind it in a comment
# as old programs write it. Groups, routes and other comments are not read, and the field then stays (RFC 9788 3.2.2).
_NAME: Final = rb'(?:[^\x00-\x08\x0a-\x1f\x7f"(),:;<>@\[\\\]]++|"(?:[^"\\\x00-\x1f\x7f]++|\\[ -~])*")*'
_SPEC: Final = rb"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]++@[^\s\x00-\x1f\x7f\"(),:;<>@\\]++"
_MAILBOX: Final = re.compile(rb"[ \t]*+(?:(%b)|%b<(%b)>)(?:[ \t]*+\([^()\\]*+\))?[ \t]*+(?:,|\Z)" % (_SPEC, _NAME, _SPEC))
_MONTHS: Final = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_DATE: Final = re.compile(
    rb"(?:[A-Za-z]{3},)?[ \t]*(\d{1,2})[ \t]+([A-Za-z]{3})[ \t]+(\d{4})[ \t]+(\d\d):(\d\d)(?::(\d\d))?[ \t]+([+-])(\d\d)(\d\d)"
    rb"(?:[ \t]*\([^()\\]*\))?"
)


def shown_outside(policy: Headers, field: Field) -> Field | None:
    """The field as ``policy`` shows it outside: itself where it is not changed, None where it is removed."""
    hcp = _HCP[policy].get(field.name.lower())
    if hcp is None:
        return field
    before = field.value
    after = hcp(before)
    if after is None or after == before:
        return None if after is None else field
    return Field(field.name, b"%b: %b\r\n" % (field.name.encode("ascii"), after))


def _obscured(_: bytes) -> bytes:
    return b"[...]"


def _removed(_: bytes) -> None:
    return None


def _addresses(value: bytes) -> bytes:
    """The addr-specs alone of a mailbox-list, one a line; ``value`` itself where it is none, or has nothing else."""
    found, at = [], 0
    while at < len(value):
        mailbox = _MAILBOX.match(value, at)
        if mailbox is None:
            return value
        found.append(mailbox[1] or mailbox[2])
        at = mailbox.end()
    return value if value.translate(None, b" \t") == b",".join(found) else b",\r\n ".join(found)


def _universal(value: bytes) -> bytes:
    """A date-time (RFC 5322 3.3) in UTC; ``value`` itself where it is none, and for -0000, which tells no zone."""
    found = _DATE.fullmatch(value)
    if found is None or found.group(7, 8, 9) == (b"-", b"00", b"00"):
        return value
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        zone = timezone(offset if sign == b"+" else -offset)
        local = datetime(
            int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute), int(second or 0), tzinfo=zone
        )
        return format_datetime(local.astimezone(UTC)).encode("ascii")
    except (ValueError, OverflowError):
        return value


# hcp(name, val_in) of RFC 9788 3.2, by policy and name; a field that is not here stays. Exchange repeats the subject in
# Thread-Topic.
_BASELINE: Final = {"subject": _obscured, "comments": _removed, "keywords": _removed, "thread-topic": _removed}
_HCP: Final[Mapping[Headers, Mapping[str, Callable[[bytes], bytes | None]]]] = MappingProxyType(
    {
        Headers.NONE: {},
        Headers.BASELINE: _BASELINE,
        Headers.SHY: _BASELINE | {"from": _addresses, "to": _addresses, "cc": _addresses, "date": _universal},
    }
)
