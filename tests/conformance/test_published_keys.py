"""Published vectors for what unwraps a key: RSA (RFC 8017), ECDH (NIST, RFC 7027), X25519 (RFC 7748), the KDF of X9.63, AES key
wrap (SP 800-38F). A good one gives its key; a bad one gives a random key of the length that was asked for, and no error.

Not here: SP 800-38F's wrap by 3DES, which is another than CMS has (RFC 3217), and its wrap with padding, which CMS has not.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from gateway.edge import agreement
from gateway.edge.agreement import open_agreed
from gateway.edge.keyfile import FileKey
from gateway.edge.rsapadding import open_oaep, open_pkcs1
from gateway.smime import der
from gateway.smime.algorithms import HASHES
from gateway.smime.keys import Digest, Ecdh, Kdf, Oaep, Pkcs1
from tests.conformance.published import VECTORS, numbers, records, transported

RSA: Final = "asymmetric/RSA"
EACH: Final = 10  # how many vectors there are for one the raw operation is done of, which is slow here
LONG: Final = 8  # bytes from which on a random key is another one
OAEP: Final = [
    pytest.param(f"{RSA}/pkcs-1v2-1d2-vec/oaep-vect.txt", Digest.SHA1, Digest.SHA1, id="oaep-vect"),
    *(
        pytest.param(f"{RSA}/oaep-custom/{path.name}", *map(Digest, path.stem.split("-")[:0:-1]), id=path.stem)
        for path in sorted((VECTORS / RSA / "oaep-custom").iterdir())
    ),
]
CEK: Final = bytes(range(32))
INFO: Final = b"what both sides know"


def raw(key: rsa.RSAPrivateKey, wrapped: bytes) -> bytes:
    """What a token that only does the mathematics gives (RFC 8017 5.1.2)."""
    private = key.private_numbers()
    p, q = private.p, private.q
    left, right = (pow(int.from_bytes(wrapped), d, prime) for d, prime in ((private.dmp1, p), (private.dmq1, q)))
    return (right + (left - right) * private.iqmp % p * q).to_bytes(key.key_size + 7 >> 3)


def changed(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


@pytest.mark.parametrize(("name", "digest", "mgf"), OAEP)
def test_oaep(name: str, digest: Digest, mgf: Digest) -> None:
    vectors = list(transported(name))
    assert len(vectors) == 60
    for number, (key, message, wrapped) in enumerate(vectors):
        length, held = len(message), FileKey(key)
        assert held.unwrap(Oaep(wrapped, length, digest, mgf)) == message
        if number % EACH == 0:
            block, instead = raw(key, wrapped), os.urandom(length)
            assert open_oaep(block, instead, digest, mgf, b"") == message
            assert open_oaep(changed(block), instead, digest, mgf, b"") == instead
            assert open_oaep(block, instead, digest, mgf, b"a label") == instead
            assert open_oaep(block, instead + b"\0", digest, mgf, b"") == instead + b"\0"
        if length < LONG:
            continue
        other = next(each for each in (Digest.SHA256, Digest.SHA1) if each is not mgf)
        for bad in (
            Oaep(changed(wrapped), length, digest, mgf),
            Oaep(wrapped, length, digest, mgf, b"a label"),
            Oaep(wrapped, length, digest, other),
            Oaep(wrapped, length + 1, digest, mgf),
            Oaep(wrapped, length - 1, digest, mgf),
            Oaep(wrapped + b"\0", length, digest, mgf),
        ):
            found = held.unwrap(bad)
            assert len(found) == bad.length
            assert not found.startswith(message[: length - 1])


def test_oaep_with_a_label() -> None:
    [record] = records(f"{RSA}/oaep-label.txt", "Output")
    key = load_der_private_key(bytes.fromhex(record["KEY"]), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    message, label = record["Output"].strip('"').encode(), bytes.fromhex(record["OAEPLabel"])
    wrapped = bytes.fromhex(record["Input"])
    digest = Digest(record["OAEPDigest"].lower())
    assert FileKey(key).unwrap(Oaep(wrapped, len(message), digest, digest, label)) == message
    assert FileKey(key).unwrap(Oaep(wrapped, len(message), digest, digest, label[:-1])) != message
    assert open_oaep(raw(key, wrapped), bytes(len(message)), digest, digest, label) == message


def test_pkcs1() -> None:
    vectors = list(transported(f"{RSA}/pkcs1v15crypt-vectors.txt"))
    assert len(vectors) == 300
    for number, (key, message, wrapped) in enumerate(vectors):
        length, held = len(message), FileKey(key)
        assert held.unwrap(Pkcs1(wrapped, length)) == message
        if number % EACH == 0:
            block, instead = raw(key, wrapped), os.urandom(length)
            assert open_pkcs1(block, instead) == message
            for at, byte in ((0, 1), (1, 1), (2, 0), (9, 0), (len(block) - length - 1, 1)):  # 00, 02, padding, 00
                assert open_pkcs1(block[:at] + bytes((byte,)) + block[at + 1 :], instead) == instead
            assert open_pkcs1(block, instead + b"\0") == instead + b"\0"
        if length < LONG:
            continue
        for bad in (
            Pkcs1(changed(wrapped), length),
            Pkcs1(wrapped, length + 1),
            Pkcs1(wrapped, length - 1),
            Pkcs1(wrapped + b"\0", length),
            Pkcs1(b"", length),
        ):
            found = held.unwrap(bad)
            assert len(found) == bad.length
            assert not found.startswith(message[: length - 1])


def agreed(secret: bytes, curve: ec.EllipticCurve, x: int, y: int) -> Ecdh:
    """A key for who agrees on ``secret`` with the one whose point is (x, y), be it on the curve or not."""
    spki = ec.generate_private_key(curve).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    size = (curve.key_size + 7) // 8
    originator = spki[: -2 * size] + x.to_bytes(size) + y.to_bytes(size)
    wrapped = aes_key_wrap(X963KDF(HASHES[Digest.SHA256], 32, INFO).derive(secret), CEK)
    return Ecdh(wrapped, len(CEK), originator, Digest.SHA256, INFO, 32)


CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "EC": ec.SECP256R1(),
    "ED": ec.SECP384R1(),
    "EE": ec.SECP521R1(),
    "brainpoolP256r1": ec.BrainpoolP256R1(),
    "brainpoolP384r1": ec.BrainpoolP384R1(),
    "brainpoolP512r1": ec.BrainpoolP512R1(),
}


def test_ecdh() -> None:
    """NIST's, where ours is the IUT's key, and where all is well the other's too. F (5), (6) and (7) are of the IUT's own key: its
    public half has no part in it here, and one that is no key is not loaded.
    """
    said: Counter[tuple[str, bool]] = Counter()
    for record in records("asymmetric/ECDH/KASValidityTest_ECCStaticUnified_NOKC_ZZOnly_resp.fax", "Result"):
        curve, result = CURVES.get(record["section"][:2]), record["Result"].partition(" -")[0]
        if curve is None or result in ("F (5", "F (6", "F (7"):
            continue
        for side, other in (("IUT", "CAVS"), ("CAVS", "IUT"))[: 2 if result.startswith("P") else 1]:
            d, x, y = numbers(record, f"ds{side}", f"Qs{other}x", f"Qs{other}y")
            wrapped = agreed(bytes.fromhex(record["Z"]), curve, x, y)
            found = FileKey(ec.derive_private_key(d, curve)).unwrap(wrapped)
            assert len(found) == len(CEK)
            said[result, found == CEK] += 1
    assert said == {
        ("P (0", True): 96,
        ("P (13", True): 12,  # the secret begins with a zero
        ("F (1", False): 6,  # the other's point is not on the curve
        ("F (2", False): 6,
        ("F (8", False): 6,  # the secret is another
    }


def test_ecdh_on_brainpool_curves() -> None:
    for record in records("asymmetric/ECDH/brainpool.txt", "x_Z"):
        curve = CURVES[record["curve"]]
        for ours, theirs in ("AB", "BA"):
            d, x, y = numbers(record, f"d{ours}", f"x_q{theirs}", f"y_q{theirs}")
            wrapped = agreed(bytes.fromhex(record["x_Z"]), curve, x, y)
            assert FileKey(ec.derive_private_key(d, curve)).unwrap(wrapped) == CEK


def test_x25519() -> None:
    count = 0
    for record in records("asymmetric/X25519/rfc7748.txt", "OUTPUT_U"):
        scalar, point, secret = (bytes.fromhex(record[name]) for name in ("INPUT_SCALAR", "INPUT_U", "OUTPUT_U"))
        key = x25519.X25519PrivateKey.from_private_bytes(scalar)
        wrapped = aes_key_wrap(HKDF(HASHES[Digest.SHA256], 32, None, INFO).derive(secret), CEK)
        for given, wanted in ((point, True), (bytes(32), False), (bytes((1, *bytes(31))), False), (point[:-1], False)):
            originator = der.sequence(der.sequence(der.oid("1.3.101.110")), der.element(3, b"\0" + given))
            found = FileKey(key).unwrap(Ecdh(wrapped, len(CEK), originator, Digest.SHA256, INFO, 32, Kdf.HKDF))
            assert (found == CEK) is wanted
            assert len(found) == len(CEK)
        count += 1
    assert count == 3


def test_the_kdf_of_x9_63() -> None:
    """Those of its keys that are as long as one of AES."""
    count = 0
    for record in records("KDF/ansx963_2001.txt", "key_data"):
        if record["key data length"] != "128":
            continue
        digest = Digest(record["section"].replace("-", "").lower())
        wrapped = aes_key_wrap(bytes.fromhex(record["key_data"]), CEK)
        known = Ecdh(wrapped, len(CEK), b"", digest, bytes.fromhex(record["SharedInfo"]), 16)
        assert open_agreed(bytes.fromhex(record["Z"]), known, bytes(32)) == CEK
        count += 1
    assert count == 50


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_aes_key_wrap(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the keys here, no KDF gives the one a vector has: it is put in the place of what was derived."""
    good = bad = 0
    for record in records(f"keywrap/kwtestvectors/KW_AD_{bits}.txt", "C"):
        key = bytes.fromhex(record["K"])
        monkeypatch.setattr(agreement, "_derived", lambda *_, key=key: key)
        length = int(record["PLAINTEXT LENGTH"]) // 8
        instead = os.urandom(length)
        wrapped = Ecdh(bytes.fromhex(record["C"]), length, b"", Digest.SHA256, INFO, bits // 8)
        found = open_agreed(b"", wrapped, instead)
        assert found == (instead if "FAIL" in record else bytes.fromhex(record["P"]))
        assert open_agreed(b"", wrapped, instead + b"\0") == instead + b"\0"
        good, bad = good + ("P" in record), bad + ("FAIL" in record)
    assert (good, bad) == (400, 100)
