"""Key agreement on a SoftHSM token, on curves that ``key generate`` does not make: another program may have put such keys there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pkcs11
import pytest
from asn1crypto.core import OctetString
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.model import Token
from gateway.edge.pkcs11 import TokenKeys
from gateway.edge.tokensession import TokenError
from gateway.edge.tokensetup import administer
from gateway.outcome import Reason
from gateway.smime.keys import Digest, Ecdh, Kdf, Mechanism
from tests.edge.test_pkcs11 import agreed
from tests.smime import agreeing
from tests.smime.agreeing import CEK, SMALL_ORDER, agreed_x25519
from tests.softhsm import new_token

# CKA_EC_PARAMS
CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "p256": ("06082a8648ce3d030107", ec.SECP256R1()),
    "p521": ("06052b81040023", ec.SECP521R1()),
    "brainpool256": ("06092b2403030208010107", ec.BrainpoolP256R1()),
    "brainpool384": ("06092b240303020801010b", ec.BrainpoolP384R1()),
    "brainpool512": ("06092b240303020801010d", ec.BrainpoolP512R1()),
    "secp256k1": ("06052b8104000a", ec.SECP256K1()),
}


@dataclass
class World:
    """A token with keys."""

    token: Token
    folder: Path
    curves: dict[str, ec.EllipticCurvePublicKey]
    montgomery: x25519.X25519PublicKey
    edwards: ed25519.Ed25519PublicKey


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """X25519 SoftHSM makes with the mechanism and the key type of Edwards curves."""
    folder = tmp_path_factory.mktemp("softhsm")
    token = new_token(folder)
    points = {}
    with administer(token, folder / "keys") as administration:
        named = {name: text for name, (text, _) in CURVES.items()} | {"x25519": "06032b656e", "ed25519": "06032b6570"}
        for name, parameters in named.items():
            edwards = name.endswith("25519")
            domain = administration._session.create_domain_parameters(
                pkcs11.KeyType.EC_EDWARDS if edwards else pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: bytes.fromhex(parameters)},
                local=True,
            )
            public, _ = domain.generate_keypair(
                store=True,
                label=name,
                capabilities=pkcs11.MechanismFlag.SIGN if name == "ed25519" else pkcs11.MechanismFlag.DERIVE,
                mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else pkcs11.Mechanism.EC_KEY_PAIR_GEN,
            )
            points[name] = bytes(OctetString.load(public[pkcs11.Attribute.EC_POINT]))
    on_curve = {name: ec.EllipticCurvePublicKey.from_encoded_point(curve, points[name]) for name, (_, curve) in CURVES.items()}
    montgomery = x25519.X25519PublicKey.from_public_bytes(points["x25519"])
    return World(token, folder, on_curve, montgomery, ed25519.Ed25519PublicKey.from_public_bytes(points["ed25519"]))


@pytest.fixture
def keys(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenKeys]:
    for name, value in world.token.environment.items():
        monkeypatch.setenv(name, value)
    opened = TokenKeys(world.token, world.folder / "keys")
    yield opened
    opened.close()


@pytest.mark.parametrize("name", ["p521", "brainpool256", "brainpool384", "brainpool512"])
def test_ecdh(world: World, keys: TokenKeys, name: str) -> None:
    good = agreed(world.curves[name], "sha512", 32)
    assert keys.unwrap(name, good) == CEK
    off = good.originator[:-1] + bytes((good.originator[-1] ^ 1,))
    for originator in (off, agreed(world.curves["p256"]).originator, agreed_x25519(world.montgomery, Kdf.X963, b"").originator):
        assert len({keys.unwrap(name, replace(good, originator=originator)) for _ in range(3)}) == 3


def test_x25519(world: World, keys: TokenKeys) -> None:
    for kdf, salt in ((Kdf.X963, b""), (Kdf.HKDF, b""), (Kdf.HKDF, b"salt")):
        good = agreed_x25519(world.montgomery, kdf, salt)
        assert keys.unwrap("x25519", good) == CEK
    foreign = agreed(world.curves["p256"]).originator
    for bad in (replace(good, wrapped=bytes(40)), replace(good, originator=foreign), replace(good, originator=b"")):
        assert len({keys.unwrap("x25519", bad) for _ in range(3)}) == 3


@pytest.mark.parametrize("number", range(len(SMALL_ORDER)))
def test_the_token_sees_no_point_of_small_order(
    world: World, keys: TokenKeys, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Its own operation fails with one, which would look like a token that is gone: it would be closed and opened for it."""
    good = agreed_x25519(world.montgomery, Kdf.HKDF, b"")
    assert keys.unwrap("x25519", good) == CEK
    with monkeypatch.context() as patched:
        patched.setattr(keys, "close", None)
        bad = replace(good, originator=good.originator[:-32] + SMALL_ORDER[number])
        assert len({keys.unwrap("x25519", bad) for _ in range(3)}) == 3


def test_hkdf_is_done_behind_the_token(world: World, keys: TokenKeys) -> None:
    public = world.curves["p256"]
    ephemeral = ec.generate_private_key(public.curve)
    wrapper = agreeing.hkdf("sha256", ephemeral.exchange(ec.ECDH(), public), b"salt", b"info", 32)
    info = ephemeral.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wrapped = Ecdh(aes_key_wrap(wrapper, CEK), 32, info, Digest.SHA256, b"info", 32, Kdf.HKDF, salt=b"salt")
    assert keys.unwrap("p256", wrapped) == CEK


def test_a_curve_that_we_do_not_use_is_said(world: World, keys: TokenKeys) -> None:
    with pytest.raises(TokenError, match=r"key 'secp256k1' is neither RSA nor on P-256, .* or Ed25519") as caught:
        keys.unwrap("secp256k1", agreed(world.curves["secp256k1"]))
    assert caught.value.reason is Reason.KEY_UNAVAILABLE


def test_ed25519_signs_what_it_is_given(world: World, keys: TokenKeys) -> None:
    """RFC 8032 5.1: over the data itself, whose digest it makes by itself."""
    world.edwards.verify(keys.sign("ed25519", b"attributes", Mechanism.ED25519), b"attributes")
    for name, mechanism in (("ed25519", Mechanism.ECDSA_SHA256), ("p256", Mechanism.ED25519), ("x25519", Mechanism.ED25519)):
        with pytest.raises(TokenError, match="another kind"):
            keys.sign(name, bytes(32), mechanism)
