"""Who takes part in the vectors. ``world`` keeps their keys, for the next vector: all of them are worthless."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.flow.opened import SENDER, encrypt, sign
from tests.pki import END, Ca, Issued, new_key

WORLD: Final = Path(__file__).parent / "world"
AT: Final = dt.datetime(2027, 1, 1, 12, tzinfo=dt.UTC)
YEAR: Final = dt.timedelta(days=365)


@dataclass
class People:
    """Reads who is there, and makes who is not."""

    folder: Path
    known: dict[str, Issued] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Issued:
        if name not in self.known:
            if not (WORLD / f"{name}.pem").exists():
                MAKERS[name](self).write(WORLD, name)
            self.known[name] = _load(name)
        return self.known[name]

    @property
    def authority(self) -> Ca:
        """Whom the worlds from 16 on believe."""
        if not (WORLD / "authority.pem").exists():
            ca = Ca.root("CN=Authority of the Vectors", kind="rsa2048")
            Issued(ca.certificate, ca.key, ()).write(WORLD, "authority")
        found = _load("authority")
        return Ca(found.certificate, found.issuing, ())

    def sign(self, entity: bytes, *options: str, by: tuple[str, ...] = ("results",)) -> bytes:
        """By the people of these names."""
        return sign(self.folder, entity, *(self[name] for name in by), options=options)

    def encrypt(self, entity: bytes, *options: str, to: str = "reader") -> bytes:
        """To the reader, or to another."""
        return encrypt(self.folder, entity, self[to], options=options or ("-aes-256-cbc",))


def _load(name: str) -> Issued:
    key = load_pem_private_key((WORLD / f"{name}.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    certificates = x509.load_pem_x509_certificates((WORLD / f"{name}.pem").read_bytes())
    above = tuple(each.public_bytes(Encoding.DER) for each in certificates[1:])
    return Issued(certificates[0], key, (*above, b""))  # tests.pki leaves the last out: it is the root


def _signer(email: str, **more: object) -> Callable[[People], Issued]:
    return lambda who: who.authority.signer(email, "rsa2048", **more)


def _claiming(who: People) -> Issued:
    """It names the authority as its issuer, and signed itself."""
    key = new_key("rsa2048")
    return Ca(who.authority.certificate, key).signer(SENDER, "rsa2048", key=key)


def _unknown(not_after: dt.datetime) -> Issued:
    """Of an authority that no world believes."""
    return Ca.root("CN=Elsewhere", kind="rsa2048").leaf(
        "CN=unknown",
        emails=[SENDER, "office@laboratory.example"],
        ku=["digital_signature"],
        kind="rsa2048",
        not_after=not_after,
    )


def _below_constraints(who: People) -> Issued:
    issuing = who.authority.intermediate("CN=Hospital Only", kind="rsa2048", permitted_domains=["hospital.example"])
    return issuing.signer(SENDER, "rsa2048")


MAKERS: Final[dict[str, Callable[[People], Issued]]] = {
    "results": _signer(SENDER),
    "director": _signer("director@hospital.example"),
    "stranger": _signer("x@evil.example"),
    "evil-domain": lambda who: who.authority.organisation_signer("evil.example", "rsa2048"),
    "look-alike": _signer("results@xn--lboratory-0yh.example"),
    "long-s": lambda who: who.authority.leaf(
        "CN=look-alike", utf8_emails=["re\u017fult\u017f@laboratory.example"], ku=["digital_signature"], kind="rsa2048"
    ),
    "several": lambda who: who.authority.leaf(
        "CN=several", emails=["office@laboratory.example", SENDER, "x@evil.example"], ku=["digital_signature"], kind="rsa2048"
    ),
    "same-key": lambda who: who.authority.signer("x@evil.example", key=who["results"].key),
    "wildcard": _signer("*@laboratory.example"),
    "wildcard-domain": lambda who: who.authority.leaf(
        "CN=*.example", dns=["*.example", "*.laboratory.example"], ku=["digital_signature"], kind="rsa2048"
    ),
    "expired": _signer(SENDER, not_after=AT - YEAR),
    "not-yet-valid": _signer(SENDER, not_before=AT + YEAR),
    "revoked": _signer(SENDER),
    "weak": lambda who: who.authority.signer(SENDER, "rsa1024"),
    "for-code": _signer(SENDER, eku=["code"]),
    "for-encryption": lambda who: who.authority.reader(SENDER),
    "foreign": lambda _: Ca.root("CN=Authority of the Vectors", kind="rsa2048").signer(SENDER, "rsa2048"),
    "unknown": lambda _: _unknown(END),
    "unknown-expired": lambda _: _unknown(AT - YEAR),
    "claiming": _claiming,
    "below-constraints": _below_constraints,
}
