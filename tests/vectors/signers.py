"""59 to 77, 117 to 120: who signed. The signature covers everything, and the From is one plain address."""

from __future__ import annotations

from typing import Any

from tests.flow.opened import HEADER, PLAIN, SENDER
from tests.pki import to_pem
from tests.vectors.forge import changed_signature, signature_bad
from tests.vectors.people import AT, WORLD, People
from tests.vectors.vector import Vector, header

BOTH = ("results", "director")


def vectors(who: People) -> dict[str, Vector]:
    between = who.folder / "between.pem"
    between.write_bytes(b"".join(map(to_pem, who["below-constraints"].intermediates)))
    chain = ("-certfile", str(between))
    bad_author = changed_signature(who.sign(PLAIN, by=BOTH), lambda structure: signature_bad(structure, who["results"]))
    bad_other = changed_signature(who.sign(PLAIN, by=BOTH), lambda structure: signature_bad(structure, who["director"]))
    by_unknown = who.sign(PLAIN, by=("unknown",))
    _revoke(who)
    return {
        "59-two-good-signers": Vector(HEADER + who.sign(PLAIN, by=BOTH)),
        "60-author-signed-badly": Vector(HEADER + bad_author),
        "61-other-signed-badly": Vector(HEADER + bad_other),
        "62-other-is-nobody": Vector(HEADER + who.sign(PLAIN, by=("results", "foreign"))),
        "63-several-addresses": Vector(HEADER + who.sign(PLAIN, by=("several",))),
        "64-wildcard-mailbox": Vector(HEADER + who.sign(PLAIN, by=("wildcard",))),
        "65-wildcard-domain": Vector(HEADER + who.sign(PLAIN, by=("wildcard-domain",))),
        "66-case-of-letters": Vector(header("RESULTS@Laboratory.EXAMPLE") + who.sign(PLAIN)),
        "67-outside-name-constraints": Vector(HEADER + who.sign(PLAIN, *chain, by=("below-constraints",))),
        "68-expired": Vector(HEADER + who.sign(PLAIN, by=("expired",))),
        "69-not-yet-valid": Vector(HEADER + who.sign(PLAIN, by=("not-yet-valid",))),
        "70-revoked": Vector(HEADER + who.sign(PLAIN, by=("revoked",)), {"crls": ["authority"], "revocation": "hard"}),
        "71-signed-tomorrow": Vector(HEADER + who.sign(PLAIN), {"at": "2026-01-01T12:00:00Z"}),
        "72-weak-key": Vector(HEADER + who.sign(PLAIN, by=("weak",))),
        "73-certificate-for-code": Vector(HEADER + who.sign(PLAIN, by=("for-code",))),
        "74-certificate-for-encryption": Vector(HEADER + who.sign(PLAIN, by=("for-encryption",))),
        "75-authority-of-the-same-name": Vector(HEADER + who.sign(PLAIN, by=("foreign",))),
        "76-issued-by-itself": Vector(HEADER + who.sign(PLAIN, by=("claiming",))),
        "77-organisation-not-bound": Vector(header("x@evil.example") + who.sign(PLAIN, by=("evil-domain",))),
        "117-pinned": Vector(HEADER + by_unknown, _pinned("unknown")),
        "118-pinned-for-another-of-its-mailboxes": Vector(header("office@laboratory.example") + by_unknown, _pinned("unknown")),
        "119-pinned-and-expired": Vector(HEADER + who.sign(PLAIN, by=("unknown-expired",)), _pinned("unknown-expired")),
        "120-another-than-the-pinned": Vector(HEADER + who.sign(PLAIN, by=("foreign",)), _pinned("unknown")),
    }


def _pinned(name: str) -> dict[str, Any]:
    """The world in which an administrator pinned the certificate of ``name`` to the results."""
    return {"pins": {SENDER: [name]}}


def _revoke(who: People) -> None:
    """The authority's CRL, made the first time."""
    path = WORLD / "authority.crl"
    if not path.exists():
        path.write_bytes(who.authority.crl([who["revoked"]], at=AT))
