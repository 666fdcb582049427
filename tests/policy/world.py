"""A small world for policy: a hospital and a clinic behind one gateway, a zone with two laboratories, a smarthost for the rest."""

from __future__ import annotations

from typing import Any

from gateway.config.model import Config
from gateway.mail.address import Address, parse_address
from gateway.mail.envelope import Direction
from gateway.mail.message import Header, read_header
from gateway.outcome import Refuse
from gateway.policy import Known, Plan, Undecided, plan

WORLD: dict[str, Any] = {
    "hostname": "gateway.hospital.example",
    "state": "/state",
    "run": "/run",
    "spool_key": "spool",
    "organisation": {
        "hospital": {"domains": ["hospital.example", "ward.example"], "mail_server": "mailbox", "outbound": "smarthost"},
        "clinic": {"domains": ["clinic.example"], "mail_server": "mailbox"},
    },
    "key": {
        "spool": {"purpose": "spool", "public_key": "/k"},
        "old": {"purpose": "sign", "organisation": "hospital", "certificate": "/c", "retired": True},
        "opens": {"purpose": "decrypt", "organisation": "hospital", "certificate": "/c"},
        "hospital": {"purpose": "sign", "organisation": "hospital", "certificate": "/c"},
        "billing": {
            "purpose": "sign",
            "organisation": "hospital",
            "certificate": "/c",
            "addresses": ["billing@hospital.example"],
        },
    },
    "tls": {"t": {"certificate": "/c", "key": "/k"}},
    "listener": {
        "inside": {"address": "127.0.0.1", "port": 25, "role": "inside"},
        "zone": {"address": "127.0.0.1", "port": 465, "role": "zone", "tls": "implicit", "identity": "t", "zone": "health"},
        "mx": {"address": "127.0.0.2", "port": 25, "role": "stranger", "organisation": "hospital"},
    },
    "client": {
        "mail": {"networks": ["10.0.0.0/8"], "organisation": "hospital", "may_send_for": ["hospital.example"]},
        "ward": {"networks": ["10.9.0.0/16"], "organisation": "hospital", "may_send_for": ["ward.example"], "require_tls": True},
        "six": {"networks": ["fd00::/8"], "organisation": "clinic", "may_send_for": ["clinic.example"]},
    },
    "route": {"mailbox": {"host": "10.0.0.1"}, "smarthost": {"host": "10.0.0.2"}},
    "zone": {
        "health": {
            "anchors": "/a",
            "identity": "t",
            "peer": [
                {"name": "lab", "domains": ["laboratory.example"], "host": "lab.example", "names": ["lab.example"]},
                {"name": "xray", "domains": ["radiology.example"], "host": "xray.example", "names": ["xray.example"]},
            ],
        },
        "region": {
            "anchors": "/a",
            "identity": "t",
            "peer": [{"name": "all", "domains": ["laboratory.example", "region.example"], "host": "r.example", "dn": "CN=r"}],
        },
    },
}


def world(*rules: dict[str, Any], **changed: object) -> Config:
    return Config.model_validate({**WORLD, "rule": list(rules), **changed})


def header(*lines: str, author: str | None = "cardiology@hospital.example") -> Header:
    whole = (*(() if author is None else (f"From: {author}",)), *lines)
    return read_header("".join(f"{line}\r\n" for line in whole).encode() + b"\r\n")


SENDER = parse_address("cardiology@hospital.example")
LAB = parse_address("results@laboratory.example")
OUTSIDE = parse_address("patient@post.example")


def asked(
    config: Config,
    recipient: Address = LAB,
    head: Header | None = None,
    *,
    sender: Address | None = SENDER,
    organisation: str = "hospital",
    direction: Direction = Direction.OUTBOUND,
    client: str | None = None,
    zone: str | None = None,
) -> Plan | Undecided | Refuse:
    return plan(config, Known(organisation, direction, sender, recipient, head, client, zone))
