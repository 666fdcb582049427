"""16 to 32: who the author is. The signature is good and covers everything; the From says more than one thing."""

from __future__ import annotations

import base64

from tests.flow.opened import HEADER, PLAIN
from tests.vectors.people import People
from tests.vectors.vector import EVIL, FROM, Vector, header

BOSS = "boss@bank.example"


def word(text: str) -> str:
    """An encoded word (RFC 2047 4.1)."""
    return f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="


def vectors(who: People) -> dict[str, Vector]:
    results, stranger = who.sign(PLAIN), who.sign(PLAIN, by=("stranger",))
    domain = who.sign(PLAIN, by=("evil-domain",))
    return {
        "16-two-addresses": Vector(header("results@laboratory.example, director@hospital.example") + results),
        "17-name-is-an-address": Vector(header(f'"{BOSS}" <x@evil.example>') + stranger, EVIL),
        "18-name-in-encoded-words": Vector(header(f"{word('boss@bank')} {word('.example')} <x@evil.example>") + stranger, EVIL),
        "19-line-end-in-the-name": Vector(header(word(BOSS + "\r\n\r\n") + " <x@evil.example>") + stranger, EVIL),
        "20-local-part-in-encoded-words": Vector(header(word(BOSS + "\0") + "@evil.example") + domain, EVIL),
        "21-quoted-local-part": Vector(header(f'"{BOSS}"@evil.example') + domain, EVIL),
        "22-unseen-characters": Vector(header("\u202eelpmaxe.knab\uff20ssob@evil.example") + domain, EVIL),
        "23-comment-in-from": Vector(header(f"x@evil.example ({BOSS})") + stranger, EVIL),
        "24-folded-from": Vector(header(b"results@laboratory.example\r\n <x@evil.example>") + results),
        "25-nul-in-from": Vector(header("results@laboratory.example\0@evil.example") + results),
        "26-empty-from": Vector(HEADER.replace(FROM, b"From: \r\n") + results),
        "27-no-from": Vector(header("") + results),
        "28-signer-is-the-sender": Vector(header("x@evil.example", b"Sender: results@laboratory.example\r\n") + results),
        "29-look-alike-domain": Vector(header("results@l\u0430boratory.example") + results),
        "30-look-alike-domain-of-its-own": Vector(
            header("results@l\u0430boratory.example") + who.sign(PLAIN, by=("look-alike",)),
            {"domains": ["xn--lboratory-0yh.example"]},
        ),
        "31-look-alike-local-part": Vector(HEADER + who.sign(PLAIN, by=("long-s",))),
        "32-resent-from-first": Vector(header("x@evil.example", b"Resent-From: results@laboratory.example\r\n") + results),
    }
