"""What is said of layers and signers, in words people know: names of algorithms, of issuers, of readers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from asn1crypto.x509 import Name

from gateway.mail.mime import ContentType
from gateway.mail.verdict import LayerVerdict, SignerVerdict
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.cms import Agreed, CertificateId, Enveloped, Kind, RecipientInfo, Transported
from gateway.smime.known import Strength, content_of, dotted, is_oaep, is_pkcs1
from gateway.smime.limits import MAX_NAME
from gateway.smime.verify import Checked
from gateway.trust.certificate import facts

MAX_TOLD: Final = 100  # readers of one layer


def signer_verdict(checked: Checked, trust: str, reasons: Sequence[Reason]) -> SignerVerdict:
    """One signer. ``reasons`` come behind that of the signature itself."""
    why = (() if checked.reason is None else (checked.reason,)) + tuple(reasons)
    try:
        known = facts(checked.certificate) if checked.certificate is not None else None
    except GatewayError:
        known = None
    if known is None:
        return SignerVerdict("", (), checked.signature, trust, why)
    return SignerVerdict(
        known.subject,
        tuple(str(email) for email in known.emails),
        checked.signature,
        trust,
        why,
        known.issuer,
        f"{known.serial:X}",
        tuple(sorted(known.domains)),
    )


def signed_algorithms(checked: Sequence[Checked]) -> dict[str, str]:
    """The signature algorithms of the signers, each once."""
    return {"signature": ", ".join(dict.fromkeys(each.scheme for each in checked if each.scheme))}


def encrypted_verdict(kind: Kind, enveloped: Enveloped | None) -> LayerVerdict:
    """An encrypted layer: its algorithms, and for whom it is."""
    if enveloped is None:
        return LayerVerdict(kind, "whole")
    try:
        content = content_of(enveloped.content, Strength.LEGACY).name
    except GatewayError:
        content = dotted(enveloped.content.oid)
    keys = ", ".join(dict.fromkeys(_key_name(each) for each in enveloped.recipients[:MAX_TOLD]))
    readers = tuple(_reader_name(each) for each in enveloped.recipients[:MAX_TOLD])
    return LayerVerdict(kind, "whole", {"content": content, "key": keys}, readers)


def part_verdict(kind: ContentType) -> LayerVerdict:
    """S/MIME in a part, by what it says of itself; it was not looked into."""
    said = kind.params.get("smime-type", "").lower()
    name = {"signed-data": "signed", "authenveloped-data": "authenveloped", "compressed-data": "compressed"}.get(said)
    return LayerVerdict(name or ("signed" if kind.type.endswith("signature") else "enveloped"), "part")


def _key_name(recipient: RecipientInfo) -> str:
    if isinstance(recipient, Agreed):
        return "ecdh"
    if not isinstance(recipient, Transported):
        return "other"
    if is_oaep(recipient.algorithm):
        return "rsa-oaep"
    return "rsa-pkcs1" if is_pkcs1(recipient.algorithm) else dotted(recipient.algorithm.oid)


def _reader_name(recipient: RecipientInfo) -> str:
    return certificate_name(recipient.reader) if isinstance(recipient, Transported | Agreed) else "other"


@lru_cache(maxsize=1024)
def certificate_name(wanted: CertificateId) -> str:
    """How CMS names a certificate: ``serial, issuer``, or its key identifier in hexadecimal."""
    if wanted.issuer_and_serial is None:
        return f"key {(wanted.key_identifier or b'')[:64].hex()}"
    issuer, serial = der.read(wanted.issuer_and_serial)
    number = f"serial {int.from_bytes(serial.content[:64]):X}"
    try:
        text = Name.load(issuer.raw).human_friendly if len(issuer.raw) <= MAX_NAME else "?"
    except Exception:  # the library raises a dozen kinds, and hostile bytes find each of them
        text = "?"
    return f"{number}, {text}"
