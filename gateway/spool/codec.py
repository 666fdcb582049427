"""Arrival, envelope and next hop of a row as JSON, and back. Strict: what is not exactly of this form is not believed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from gateway.mail.address import Address
from gateway.mail.envelope import Arrival, Body, Direction, Envelope, NextHop, Recipient, Role
from gateway.mail.identifier import MailId, is_mail_id
from gateway.outcome import GatewayError, Reason
from gateway.spool.epoch import Sealing

VERSION: Final = 1
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_T = TypeVar("_T")
_Object = dict[str, Any]


class CodecError(GatewayError):
    """A row is not of the form this version writes."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.SPOOL_UNAVAILABLE, detail)


@dataclass(frozen=True, slots=True)
class Content:
    """The part of a row that no query looks into."""

    arrival: Arrival
    envelope: Envelope
    hop: NextHop | None


def write_content(arrival: Arrival, envelope: Envelope, hop: NextHop | None) -> str:
    """The JSON text of a row's content."""
    return _encode(
        {
            "v": VERSION,
            "arrival": {
                "mail": arrival.mail,
                "at": arrival.at,
                "organisation": arrival.organisation,
                "direction": arrival.direction,
                "role": arrival.role,
                "listener": arrival.listener,
                "address": arrival.address,
                "helo": arrival.helo,
                "tls": arrival.tls,
                "client": arrival.client,
                "zone": arrival.zone,
                "peer": arrival.peer,
                "parent": arrival.parent,
                "trace": list(arrival.trace),
            },
            "envelope": {
                "sender": _write_address(envelope.sender) if envelope.sender is not None else None,
                "recipients": [[*_write_address(one.address), sorted(one.notify), one.orcpt] for one in envelope.recipients],
                "body": envelope.body,
                "smtputf8": envelope.smtputf8,
                "require_tls": envelope.require_tls,
                "ret": envelope.ret,
                "envid": envelope.envid,
            },
            "hop": [hop.name, hop.zone] if hop is not None else None,
        }
    )


def read_content(text: str) -> Content:
    """The content of a row from its JSON text. Raises :class:`CodecError`."""
    try:
        whole = _keys(json.loads(text), "v", "arrival", "envelope", "hop")
        if whole["v"] != VERSION:
            raise CodecError(f"content of version {whole['v']!r}")
        return Content(_read_arrival(whole["arrival"]), _read_envelope(whole["envelope"]), _read_hop(whole["hop"]))
    except (ValueError, TypeError, RecursionError) as error:
        # The cause is not quoted: it may hold addresses.
        raise CodecError(f"content is not of version {VERSION}") from error


@lru_cache(maxsize=4)  # every row is stored with its epoch, and a day's rows have the same
def write_sealings(sealings: tuple[Sealing, ...]) -> str:
    """The JSON text of an epoch's sealings."""
    return _encode([[one.key, base64.b64encode(one.wrapped).decode()] for one in sealings])


def read_sealings(text: str) -> tuple[Sealing, ...]:
    """An epoch's sealings from their JSON text. Raises :class:`CodecError`."""
    try:
        pairs = [_items(pair, 2) for pair in _of(json.loads(text), list)]
        return tuple(Sealing(_of(key, str), base64.b64decode(_of(wrapped, str), validate=True)) for key, wrapped in pairs)
    except (ValueError, TypeError, RecursionError) as error:
        raise CodecError("sealings of an epoch are not of a known form") from error


def _read_arrival(value: object) -> Arrival:
    names = "mail at organisation direction role listener address helo tls client zone peer parent trace"
    item = _keys(value, *names.split())
    return Arrival(
        mail=_mail_id(item["mail"]),
        at=_of(item["at"], int),
        organisation=_of(item["organisation"], str),
        direction=Direction(item["direction"]),
        role=Role(item["role"]),
        listener=_of(item["listener"], str),
        address=_of(item["address"], str),
        helo=_of(item["helo"], str),
        tls=_of(item["tls"], str),
        client=_maybe(item["client"]),
        zone=_maybe(item["zone"]),
        peer=_maybe(item["peer"]),
        parent=_mail_id(item["parent"]) if item["parent"] is not None else None,
        trace=tuple(_of(line, str) for line in _of(item["trace"], list)),
    )


def _read_envelope(value: object) -> Envelope:
    item = _keys(value, "sender", "recipients", "body", "smtputf8", "require_tls", "ret", "envid")
    return Envelope(
        sender=_read_address(*_items(item["sender"], 2)) if item["sender"] is not None else None,
        recipients=tuple(_read_recipient(one) for one in _of(item["recipients"], list)),
        body=Body(item["body"]),
        smtputf8=_of(item["smtputf8"], bool),
        require_tls=_of(item["require_tls"], bool),
        ret=_maybe(item["ret"]),
        envid=_maybe(item["envid"]),
    )


def _read_recipient(value: object) -> Recipient:
    local, domain, notify, orcpt = _items(value, 4)
    return Recipient(_read_address(local, domain), frozenset(_of(one, str) for one in _of(notify, list)), _maybe(orcpt))


def _read_hop(value: object) -> NextHop | None:
    if value is None:
        return None
    name, zone = _items(value, 2)
    return NextHop(_of(name, str), _maybe(zone))


def _write_address(address: Address) -> list[str]:
    return [address.local, address.domain]


def _read_address(local: object, domain: object) -> Address:
    return Address(_of(local, str), _of(domain, str))


def _keys(value: object, *names: str) -> _Object:
    item = _of(value, dict)
    if item.keys() != set(names):
        raise ValueError("other keys")
    return item


def _items(value: object, count: int) -> list[Any]:
    items = _of(value, list)
    if len(items) != count:
        raise ValueError("other length")
    return items


def _of(value: object, kind: type[_T]) -> _T:
    if type(value) is not kind:  # exactly: True is no number here
        raise TypeError("other type")
    return value


def _maybe(value: object) -> str | None:
    return None if value is None else _of(value, str)


def _mail_id(value: object) -> MailId:
    text = _of(value, str)
    if not is_mail_id(text):
        raise ValueError("not an identifier")
    return MailId(text)
