"""Keys agreed on: points that are none, secrets that a sender counts on, and every key wrap (RFC 5753, RFC 8418)."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from gateway.outcome import GatewayError, Reason
from tests.pki import Ca, Issued
from tests.smime import agreeing
from tests.smime.test_smime_reader import CONTENT, encrypt, read

BRAINPOOL: dict[str, type[ec.EllipticCurve]] = {
    "brainpoolP256r1": ec.BrainpoolP256R1,
    "brainpoolP384r1": ec.BrainpoolP384R1,
    "brainpoolP512r1": ec.BrainpoolP512R1,
}


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def readers(ca: Ca) -> dict[str, Issued]:
    keys = {name: ec.generate_private_key(curve()) for name, curve in BRAINPOOL.items()}
    nist = {"p256": ec.generate_private_key(ec.SECP256R1()), "p521": ec.generate_private_key(ec.SECP521R1())}
    every = {**keys, **nist, "x25519": x25519.X25519PrivateKey.generate()}
    return {name: ca.reader(f"{name}@laboratory.example", name, key=key) for name, key in every.items()}


@pytest.mark.parametrize("wrap", ["id-aes128-wrap", "id-aes192-wrap", "id-aes256-wrap"])
@pytest.mark.parametrize("curve", ["p256", "brainpoolP384r1"])
async def test_every_key_wrap_by_openssl(readers: dict[str, Issued], tmp_path: Path, curve: str, wrap: str) -> None:
    structure = encrypt(tmp_path, readers[curve], "-aes-256-cbc", f"-{wrap.removeprefix('id-')}")
    assert (await read(structure, readers[curve]))[0] == CONTENT


@pytest.mark.parametrize("curve", ["p256", "p521", *BRAINPOOL])
async def test_user_keying_material_on_every_curve(readers: dict[str, Issued], curve: str) -> None:
    structure = agreeing.message(readers[curve].certificate, CONTENT, agreeing.X963["sha512"], digest="sha512", material=b"ukm")
    assert (await read(structure, readers[curve]))[0] == CONTENT


async def opens(structure: bytes, reader: Issued) -> bool:
    """Whether the content comes out. Else it ends as with a random key: INTEGRITY, or, once in 256 times, noise with a padding."""
    try:
        return (await read(structure, reader))[0] == CONTENT
    except GatewayError as error:
        if error.reason is not Reason.INTEGRITY:
            raise
        return False


@pytest.mark.parametrize("scheme", [agreeing.X963["sha256"], agreeing.HKDF["sha256"]])
@pytest.mark.parametrize("number", range(len(agreeing.SMALL_ORDER)))
async def test_an_all_zero_secret_is_not_used(readers: dict[str, Issued], number: int, scheme: str) -> None:
    """RFC 8418 5: the sender counts on zero, and everybody could open what he wrote."""
    derive = agreeing.x963("sha256", bytes(32), agreeing.shared_info(16, None), 16)
    if scheme in agreeing.HKDF.values():
        derive = agreeing.hkdf("sha256", bytes(32), b"", agreeing.shared_info(16, None), 16)
    certificate = readers["x25519"].certificate
    structure = agreeing.enveloped(certificate, CONTENT, scheme, derive, point=agreeing.SMALL_ORDER[number])
    assert not await opens(structure, readers["x25519"])


@pytest.mark.parametrize("curve", ["p256", "p521", *BRAINPOOL])
async def test_what_is_no_point_of_the_curve_opens_nothing(readers: dict[str, Issued], curve: str) -> None:
    key = readers[curve].certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    size = (key.curve.key_size + 7) // 8
    good = agreeing._agree(key)[1]
    off = good[:-1] + bytes((good[-1] ^ 1,))
    # Not on the curve; coordinates over the field; infinity; no form that there is; too short; of another curve.
    other = agreeing._agree(ec.generate_private_key(ec.SECP384R1()).public_key())[1]
    for point in (off, b"\4" + b"\xff" * 2 * size, b"\0", b"\x05" + good[1:], good[:-1], other):
        structure = agreeing.message(readers[curve].certificate, CONTENT, agreeing.X963["sha256"], point=point)
        assert not await opens(structure, readers[curve])


@pytest.mark.parametrize("point", [bytes(31), bytes(33), b"\0", b"\4" + bytes(64)])
async def test_what_is_no_key_of_x25519_opens_nothing(readers: dict[str, Issued], point: bytes) -> None:
    structure = agreeing.message(readers["x25519"].certificate, CONTENT, agreeing.HKDF["sha256"], point=point)
    assert not await opens(structure, readers["x25519"])


@pytest.mark.parametrize("name", ["p256", "x25519"])
async def test_another_derivation_opens_nothing(readers: dict[str, Issued], name: str) -> None:
    for scheme, digest in ((agreeing.X963["sha256"], "sha384"), (agreeing.HKDF["sha256"], "sha512")):
        structure = agreeing.message(readers[name].certificate, CONTENT, scheme, digest=digest)
        assert not await opens(structure, readers[name])
