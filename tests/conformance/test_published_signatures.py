"""Vectors for checking signatures, each put into CMS as it is: NIST's (FIPS 186), made well, changed in one of many ways, or padded
as no signer pads; and those of the authors of Ed25519. Without signed attributes the signature is over the content itself (RFC 5652
5.4, RFC 8419 3.2).

Not here: X9.31, which CMS has not.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cache
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.certificate import identified
from gateway.smime.cms import SignedData
from gateway.smime.known import Strength
from gateway.smime.verify import Checked, Signature, beginning, check, needed
from tests.conformance.material import read
from tests.conformance.published import VECTORS, Record, numbers, records
from tests.pki import NOW, Ca, microseconds

RSA: Final = "asymmetric/RSA"
AT: Final = microseconds(NOW)
GOOD: Final = (Signature.GOOD, None)
WEAK: Final = (Signature.GOOD, Reason.WEAK_ALGORITHM)
REFUSED: Final = (Signature.UNSUPPORTED, Reason.WEAK_ALGORITHM)
DIGESTS: Final = {
    "SHA1": "1.3.14.3.2.26",
    "SHA224": "2.16.840.1.101.3.4.2.4",
    "SHA256": "2.16.840.1.101.3.4.2.1",
    "SHA384": "2.16.840.1.101.3.4.2.2",
    "SHA512": "2.16.840.1.101.3.4.2.3",
}
PKCS1: Final = {"SHA1": 5, "SHA224": 14, "SHA256": 11, "SHA384": 12, "SHA512": 13}  # below 1.2.840.113549.1.1
ECDSA: Final = {"SHA1": "1", "SHA224": "3.1", "SHA256": "3.2", "SHA384": "3.3", "SHA512": "3.4"}  # below 1.2.840.10045.4
DSA: Final = {"SHA1": "1.2.840.10040.4.3", "SHA224": "2.16.840.1.101.3.4.3.1", "SHA256": "2.16.840.1.101.3.4.3.2"}
CURVES: Final[dict[str, ec.EllipticCurve]] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@cache
def authority() -> Ca:
    return Ca.root()


def certificate(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | dsa.DSAPublicKey | ed25519.Ed25519PublicKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    builder = x509.CertificateBuilder(authority().certificate.subject, name, key, 7, NOW, NOW)
    return builder.sign(authority().key, hashes.SHA256()).public_bytes(Encoding.DER)


def signed(holder: bytes, digest: str, algorithm: bytes, signature: bytes, content: bytes) -> bytes:
    """SignedData with the content inside, by the key of ``holder`` (DER)."""
    hashed = der.sequence(der.oid(DIGESTS[digest]))
    signer = identified(holder).issuer_and_serial
    info = der.sequence(der.integer(1), signer, hashed, algorithm, der.octet_string(signature))
    inside = der.sequence(der.oid("1.2.840.113549.1.7.1"), der.element(0xA0, der.octet_string(content)))
    certificates = der.set_of(holder, tag=0xA0)
    data = der.sequence(der.integer(1), der.set_of(hashed), inside, certificates, der.set_of(info))
    return der.sequence(der.oid("1.2.840.113549.1.7.2"), der.element(0xA0, data))


def answers(structure: bytes) -> list[tuple[Signature, Reason | None]]:
    """What we say of the one signer, by each strength."""
    found: list[Checked] = []
    for strength in Strength:
        content, layer = read(structure, {}, strength)
        assert isinstance(layer, SignedData)
        digests = {digest: hashlib.new(digest, content).digest() for digest in needed(layer, strength)}
        found += check(layer, digests, content[: beginning(layer)], AT, strength)
    return [(each.signature, each.reason) for each in found]


def judged(record: Record, structure: bytes, weak: bool) -> str:
    """Asserts that we say of the vector what its authors do; what that is. Where nothing is said it is good. One that is good over
    a content that begins like a SET is bad to us: that could be the attributes of another message (RFC 5652 11, and 5.4).
    """
    said = answers(structure)
    if record.get("Result", "P").startswith("P"):
        if record["Msg"].startswith("31"):
            kinds = {signature for signature, _ in said}
            assert Signature.BAD in kinds, record
            assert Signature.GOOD not in kinds, record
            return "like attributes"
        assert said == ([REFUSED, WEAK] if weak else [GOOD, GOOD]), record
        return "weak" if weak else "good"
    assert all(signature is not Signature.GOOD for signature, _ in said), record
    return "bad"


def pss(digest: str, salt: int) -> bytes:
    """RSASSA-PSS with MGF1 of the same digest (RFC 4055 3.1)."""
    hashed = der.sequence(der.oid(DIGESTS[digest]))
    mask = der.sequence(der.oid("1.2.840.113549.1.1.8"), hashed)
    fields = (hashed, mask, der.integer(salt))
    parameters = der.sequence(*(der.element(0xA0 + number, field) for number, field in enumerate(fields)))
    return der.sequence(der.oid("1.2.840.113549.1.1.10"), parameters)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("FIPS_186-2/SigVer15_186-3.rsp", {"good": 36, "weak": 39, "bad": 375}),
        ("FIPS_186-2/SigVerPSS_186-3.rsp", {"good": 36, "weak": 39, "bad": 375}),
        ("SigVer15EMTest.txt", {"bad": 150}),
        ("FIPS_186-2/SigGen15_186-3.rsp", {"good": 120, "weak": 130}),
        ("FIPS_186-2/SigGenPSS_186-3.rsp", {"good": 120, "weak": 130}),
    ],
)
def test_rsa(name: str, told: dict[str, int]) -> None:
    """SigVer15EMTest is of paddings in which the digest is moved, or what ends the padding is missing."""
    said: Counter[str] = Counter()
    for record in records(f"{RSA}/{name}", "S"):
        digest = record["SHAAlg"]
        modulus, exponent = numbers(record, "n", "e")
        size = len(record["n"]) // 2
        content, signature = bytes.fromhex(record["Msg"]), bytes.fromhex(record["S"].zfill(2 * size))
        salt = len(record.get("SaltVal", "")) // 2
        algorithm = pss(digest, salt) if "PSS" in name else der.sequence(der.oid(f"1.2.840.113549.1.1.{PKCS1[digest]}"), der.NULL)
        holder = certificate(rsa.RSAPublicNumbers(exponent, modulus).public_key())
        weak = digest == "SHA1" or modulus.bit_length() < 2048
        said[judged(record, signed(holder, digest, algorithm, signature, content), weak)] += 1
    assert said == told


@pytest.mark.parametrize(
    ("name", "told"),
    [("SigVer", {"good": 36, "weak": 9, "bad": 180, "curve": 900}), ("SigGen", {"good": 180, "weak": 45, "curve": 900})],
)
def test_ecdsa(name: str, told: dict[str, int]) -> None:
    """A point that is not on the curve is put into a certificate all the same, in the place of one that is."""
    said: Counter[str] = Counter()
    for record in records(f"asymmetric/ECDSA/FIPS_186-3/{name}.rsp", "S"):
        curve, _, named = record["section"].partition(",")
        digest = named.replace("-", "")
        if curve not in CURVES:
            said["curve"] += 1  # P-192, P-224, and curves over binary fields: none of ours
            continue
        size = (CURVES[curve].key_size + 7) // 8
        point = b"\x04" + b"".join(number.to_bytes(size) for number in numbers(record, "Qx", "Qy"))
        content, signature = bytes.fromhex(record["Msg"]), encode_dss_signature(*numbers(record, "R", "S"))
        holder = certificate(placeholder(curve)).replace(point_of(placeholder(curve)), point)
        algorithm = der.sequence(der.oid(f"1.2.840.10045.4.{ECDSA[digest]}"))
        said[judged(record, signed(holder, digest, algorithm, signature, content), digest == "SHA1")] += 1
    assert said == told


@cache
def placeholder(curve: str) -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(CURVES[curve]).public_key()


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    size, point = (key.curve.key_size + 7) // 8, key.public_numbers()
    return b"\x04" + point.x.to_bytes(size) + point.y.to_bytes(size)


@pytest.mark.parametrize(
    ("name", "told"),
    [("SigVer", {"weak": 84, "bad": 96, "digest": 120}), ("SigGen", {"weak": 178, "like attributes": 2, "digest": 120})],
)
def test_dsa(name: str, told: dict[str, int]) -> None:
    said: Counter[str] = Counter()
    for record in records(f"asymmetric/DSA/FIPS_186-3/{name}.rsp", "S"):
        digest = record["section"].rpartition(",")[2].strip().replace("-", "")
        if digest not in DSA:
            said["digest"] += 1  # CMS has no DSA with SHA-384 and SHA-512 (RFC 5754 3.1)
            continue
        p, q, g, y = numbers(record, "P", "Q", "G", "Y")
        holder = certificate(dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key())
        content, signature = bytes.fromhex(record["Msg"]), encode_dss_signature(*numbers(record, "R", "S"))
        algorithm = der.sequence(der.oid(DSA[digest]))
        said[judged(record, signed(holder, digest, algorithm, signature, content), weak=True)] += 1
    assert said == told


EVERY: Final = 32  # how many vectors there are for one that is changed
ORDER: Final = 2**252 + 27742317777372353535851937790883648493  # of the base point (RFC 8032 5.1)
SMALL: Final = (  # points of order 1, 2, 4 and 8, and one that is written in a second way (RFC 8032 5.1.3)
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def test_ed25519() -> None:
    """1024 of its authors; and some of them with a bit changed in R, in S or in the content, with an S that is not below the order,
    as anybody can make of a good one (RFC 8032 5.1.7, 8.4), with a point of small order for R, or of another length.
    """
    algorithm = der.sequence(der.oid("1.3.101.112"))
    said: Counter[str] = Counter()
    for number, line in enumerate((VECTORS / "asymmetric/Ed25519/sign.input").read_text().split()):
        _, public, content, made = (bytes.fromhex(each) for each in line.split(":")[:4])
        signature = made[:64]
        holder = certificate(ed25519.Ed25519PublicKey.from_public_bytes(public))
        like_attributes = content[:1] == b"\x31"
        expected = [(Signature.BAD, Reason.BAD_SIGNATURE) if like_attributes else GOOD] * 2
        assert answers(signed(holder, "SHA512", algorithm, signature, content)) == expected, number
        said["like attributes" if like_attributes else "good"] += 1
        if number % EVERY:
            continue
        r, s = signature[:32], int.from_bytes(signature[32:], "little")
        place = number // EVERY % 32
        wrong = [
            flipped(r, place) + signature[32:],
            r + flipped(signature[32:], place),
            r + (s + ORDER).to_bytes(32, "little"),
            *(bytes.fromhex(point) + signature[32:] for point in SMALL),
            *(bytes.fromhex(point) + bytes(32) for point in SMALL),
            bytes(64),
            signature[:63],
            signature + b"\0",
            b"",
        ]
        for each in wrong:
            assert answers(signed(holder, "SHA512", algorithm, each, content)) == [(Signature.BAD, Reason.BAD_SIGNATURE)] * 2
        changed = flipped(content, place % len(content)) if content else b"!"
        assert answers(signed(holder, "SHA512", algorithm, signature, changed)) == [(Signature.BAD, Reason.BAD_SIGNATURE)] * 2
        said["bad"] += len(wrong) + 1
    assert said == {"good": 1023, "like attributes": 1, "bad": 1024 // EVERY * 18}


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
