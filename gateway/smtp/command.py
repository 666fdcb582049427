"""The grammar of the commands we take (RFC 5321 4.1): one line in, one frozen value or the reply that refuses it out.

Strict: control characters, parameters that were not offered, given twice or badly formed are refused, never guessed at. Two
old habits stay allowed, because servers still have them: spaces behind ``FROM:`` and ``TO:``, and spaces at the end of a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.mail.address import Address, AddressError, parse_address
from gateway.mail.envelope import Body, Recipient
from gateway.smtp.reply import Reply

MAX_LINE: Final = 2048  # without CRLF; RFC 5321 4.5.3.1.4 asks for 512, RFC 3461 4 for 107 and 500 more of MAIL and RCPT
MAX_REFUSED: Final = 16 * 1024  # a line up to here is read, and refused where it is too long; beyond it the session ends

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,255}|\[[A-Za-z0-9._:-]{1,253}\]")
_ROUTE: Final = r"(?:@[A-Za-z0-9._-]+(?:,@[A-Za-z0-9._-]+)*:)?"  # RFC 5321 C: accepted and ignored
_PATH: Final = re.compile(rf'<{_ROUTE}((?:"(?:[^"\\]|\\.)*"|[^"<>\\ ])*)>(?: +(.*))?')
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^= ]*))?")
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")  # RFC 3461 4
_ORCPT: Final = re.compile(r"[A-Za-z0-9-]+;(.+)")
_UTF8_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~\u00a0-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+")  # RFC 6533 3


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO (``extended``) or HELO. ``name`` is what the client calls itself: fit for a trace line, proof of nothing."""

    name: str
    extended: bool


@dataclass(frozen=True, slots=True)
class MailFrom:
    """MAIL. ``sender`` None is the null reverse-path; ``size`` (octets, RFC 1870) None where not declared."""

    sender: Address | None
    size: int | None = None
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    require_tls: bool = False
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class RcptTo:
    """RCPT."""

    recipient: Recipient


@dataclass(frozen=True, slots=True)
class Data:
    """DATA."""


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT (RFC 3030): ``size`` octets follow the line; ``last`` ends the message."""

    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Verify:
    """VRFY."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS (RFC 3207)."""


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (RFC 4954 4). ``mechanism`` in upper case; ``initial`` is its first response, in base64, None where none came."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


Command = Hello | MailFrom | RcptTo | Data | Bdat | Reset | Nothing | Verify | Quit | StartTls | Auth


class _Wrong(Exception):
    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, enhanced, (text,))


def parse_command(line: bytes, offered: frozenset[str], *, smtputf8: bool = False, home: str = "") -> Command | Reply:
    """The command in ``line`` (without its CRLF), or the reply to it.

    ``offered`` are the EHLO keywords said to this client, in upper case (empty after HELO): a parameter whose extension is not
    among them is refused (RFC 5321 4.1.1.11). ``smtputf8``: the current mail was begun with SMTPUTF8 (RFC 6531 3.4). ``home`` is
    the domain of a postmaster who is named without one (RFC 5321 4.5.1), "" where there is none.
    """
    try:
        verb, _, rest = _text(line).partition(" ")
        return _VERBS.get(verb.upper(), _unknown)(rest.strip(" "), offered, smtputf8, home)
    except _Wrong as wrong:
        return wrong.reply


def verb_of(line: bytes) -> str:
    """The verb of ``line``, in upper case, where it is one that we know, offered or not; else ""."""
    verb = line.partition(b" ")[0].decode(errors="replace").upper()
    return verb if verb in _VERBS else ""


def _text(line: bytes) -> str:
    if len(line) > MAX_LINE:
        raise _Wrong(500, "5.5.2", "Line too long")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise _Wrong(500, "5.5.2", "Line is not UTF-8") from None
    if _CONTROL.search(text):
        raise _Wrong(500, "5.5.2", "Control character in a command")
    return text


def _hello(rest: str, *, extended: bool) -> Hello:
    if not _NAME.fullmatch(rest):
        raise _Wrong(501, "5.5.4", "Give your host name")
    return Hello(rest, extended)


def _mail(rest: str, offered: frozenset[str], *_: object) -> MailFrom:
    path, given = _path(rest, "FROM:", offered, _MAIL_PARAMETERS)
    smtputf8 = "SMTPUTF8" in given
    sender = _address(path, smtputf8=smtputf8) if path else None
    size = given.get("SIZE")
    return MailFrom(
        sender,
        size=int(size) if size else None,
        body=Body(given.get("BODY", Body.SEVEN_BIT).upper()),
        smtputf8=smtputf8,
        require_tls="REQUIRETLS" in given,
        ret=given["RET"].upper() if "RET" in given else None,
        envid=given.get("ENVID"),
    )


def _rcpt(rest: str, offered: frozenset[str], smtputf8: bool, home: str) -> RcptTo:
    path, given = _path(rest, "TO:", offered, _RCPT_PARAMETERS)
    notify = frozenset(given["NOTIFY"].upper().split(",")) if "NOTIFY" in given else frozenset()
    orcpt = given.get("ORCPT")
    if orcpt is not None and not smtputf8 and not orcpt.isascii():
        raise _Wrong(501, "5.5.4", "ORCPT needs SMTPUTF8")
    if home and path.lower() == "postmaster":
        path = f"{path}@{home}"
    return RcptTo(Recipient(_address(path, smtputf8=smtputf8), notify, orcpt))


def _bdat(rest: str, offered: frozenset[str], *_: object) -> Bdat:
    size, space, last = rest.partition(" ")
    if "CHUNKING" not in offered or not _NUMBER.fullmatch(size) or (space and last.upper() != "LAST"):
        # Nobody knows how many octets follow: what comes next must not be read as commands
        raise _Wrong(521, "5.5.4", "BDAT not understood")
    return Bdat(int(size), bool(space))


def _auth(rest: str, *_: object) -> Auth:
    mechanism, space, initial = rest.partition(" ")
    if not mechanism or " " in initial:
        raise _Wrong(501, "5.5.4", "Say AUTH and a mechanism")
    # RFC 4954 4: "=" is an initial response that is empty
    return Auth(mechanism.upper(), (b"" if initial == "=" else initial.encode()) if space else None)


def _path(
    rest: str, word: str, offered: frozenset[str], parameters: dict[str, tuple[str, Callable[[str | None], bool]]]
) -> tuple[str, dict[str, str]]:
    """The address between angle brackets, and the parameters behind it."""
    if rest[: len(word)].upper() != word:
        raise _Wrong(501, "5.5.4", f"Say {word}<address>")
    found = _PATH.fullmatch(rest[len(word) :].lstrip(" "))
    if not found:
        raise _Wrong(501, "5.5.4", f"Say {word}<address>")
    given: dict[str, str] = {}
    for text in (found[2] or "").split():
        matched = _PARAMETER.fullmatch(text)
        name = matched[1].upper() if matched else ""
        extension, fits = parameters.get(name, ("", None))
        if matched is None or fits is None or extension not in offered:
            raise _Wrong(555, "5.5.4", "Parameter not recognized")
        if name in given or not fits(matched[2]):
            raise _Wrong(501, "5.5.4", f"Wrong value of {name}")
        given[name] = matched[2] or ""
    return found[1], given


def _address(path: str, *, smtputf8: bool) -> Address:
    try:
        address = parse_address(path)
    except AddressError:
        raise _Wrong(553, "5.1.3", "Not a mail address") from None
    if address.needs_smtputf8 and not smtputf8:
        raise _Wrong(553, "5.6.7", "Address needs SMTPUTF8")
    return address


def _is_notify(value: str | None) -> bool:
    words = (value or "").upper().split(",")
    return words == ["NEVER"] or (len(set(words)) == len(words) and {"SUCCESS", "FAILURE", "DELAY"}.issuperset(words))


def _is_orcpt(value: str | None) -> bool:
    found = _ORCPT.fullmatch(value or "")
    if not found or len(found[0]) > 500:
        return False
    return bool((_UTF8_XTEXT if found[0].lower().startswith("utf-8;") else _XTEXT).fullmatch(found[1]))


# Parameter: the keyword of its extension, and whether a value fits (None: no value was given)
_MAIL_PARAMETERS: Final[dict[str, tuple[str, Callable[[str | None], bool]]]] = {
    "SIZE": ("SIZE", lambda value: bool(value and _NUMBER.fullmatch(value))),
    "BODY": ("8BITMIME", lambda value: (value or "").upper() in list(Body)),
    "SMTPUTF8": ("SMTPUTF8", lambda value: value is None),
    "REQUIRETLS": ("REQUIRETLS", lambda value: value is None),
    # RFC 4954 5: read, and not believed; nothing of it goes on
    "AUTH": ("AUTH", lambda value: bool(value and len(value) <= 500 and (value == "<>" or _XTEXT.fullmatch(value)))),
    "RET": ("DSN", lambda value: (value or "").upper() in ("FULL", "HDRS")),
    "ENVID": ("DSN", lambda value: bool(value and len(value) <= 100 and _XTEXT.fullmatch(value))),
}
_RCPT_PARAMETERS: Final[dict[str, tuple[str, Callable[[str | None], bool]]]] = {
    "NOTIFY": ("DSN", _is_notify),
    "ORCPT": ("DSN", _is_orcpt),
}


def _verify(rest: str, *_: object) -> Verify:
    if not rest:
        raise _Wrong(501, "5.5.4", "Say VRFY and a mailbox")
    return Verify()


def _alone(command: Command) -> Callable[[str, frozenset[str], bool, str], Command]:
    """A command that takes no argument."""

    def read(rest: str, *_: object) -> Command:
        if rest:
            raise _Wrong(501, "5.5.4", "This command takes no argument")
        return command

    return read


def _unknown(*_: object) -> Command:
    raise _Wrong(500, "5.5.1", "Command not recognized")


def _not_offered(*_: object) -> Command:
    raise _Wrong(502, "5.5.1", "Command not implemented")


_VERBS: Final[dict[str, Callable[[str, frozenset[str], bool, str], Command]]] = {
    "EHLO": lambda rest, *_: _hello(rest, extended=True),
    "HELO": lambda rest, *_: _hello(rest, extended=False),
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _alone(Data()),
    "BDAT": _bdat,
    "RSET": _alone(Reset()),
    "NOOP": lambda *_: Nothing(),
    "VRFY": _verify,
    "QUIT": _alone(Quit()),
    "STARTTLS": _alone(StartTls()),
    "AUTH": _auth,
    "EXPN": _not_offered,
    "HELP": _not_offered,
    "TURN": _not_offered,
    "ETRN": _not_offered,
}
