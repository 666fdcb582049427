"""A real SoftHSM token: what it signs and unwraps, verified by `cryptography` and `openssl`; what is said when it is not there."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from gateway.config.model import Secret, Token
from gateway.edge.pin import PinGuard, PinRefusedError
from gateway.edge.pkcs11 import TokenKeys
from gateway.edge.tokensession import TokenError
from gateway.edge.tokensetup import KeyKind, KeyUse, administer
from gateway.smime.algorithms import HASHES
from gateway.smime.keys import Digest, Ecdh, Mechanism, Oaep, Pkcs1
from tests.softhsm import PIN, generate, new_token

CEK = bytes(range(32))
SHA: dict[str, hashes.HashAlgorithm] = {str(digest): algorithm for digest, algorithm in HASHES.items() if digest is not Digest.MD5}


@dataclass
class World:
    """A token with keys, and the folder that holds its lock and markers."""

    token: Token
    folder: Path
    public: dict[str, bytes]
    opened: list[TokenKeys] = field(default_factory=list)

    def rsa(self, name: str) -> rsa.RSAPublicKey:
        key = load_der_public_key(self.public[name])
        assert isinstance(key, rsa.RSAPublicKey)
        return key

    def ec(self, name: str) -> ec.EllipticCurvePublicKey:
        key = load_der_public_key(self.public[name])
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    def keys(self, token: Token | None = None) -> TokenKeys:
        self.opened.append(TokenKeys(token or self.token, self.folder / "keys"))
        return self.opened[-1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("softhsm")
    token = new_token(folder)
    public = generate(
        token,
        folder,
        sign=(KeyKind.RSA_2048, KeyUse.SIGN),
        decrypt=(KeyKind.RSA_2048, KeyUse.DECRYPT),
        ec_sign=(KeyKind.P256, KeyUse.SIGN),
        ec_decrypt=(KeyKind.P256, KeyUse.DECRYPT),
        ec384_decrypt=(KeyKind.P384, KeyUse.DECRYPT),
    )
    return World(token, folder, public)


@pytest.fixture
def world(made: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in made.token.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    while made.opened:
        made.opened.pop().close()


@pytest.fixture
def keys(world: World) -> TokenKeys:
    return world.keys()


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_rsa_signatures_verify(world: World, keys: TokenKeys, name: str) -> None:
    digest, public = hashlib.new(name, b"attributes").digest(), world.rsa("sign")
    public.verify(keys.sign("sign", digest, Mechanism(f"rsa-pkcs1-{name}")), b"attributes", padding.PKCS1v15(), SHA[name])
    pss = padding.PSS(padding.MGF1(SHA[name]), SHA[name].digest_size)
    public.verify(keys.sign("sign", digest, Mechanism(f"rsa-pss-{name}")), b"attributes", pss, SHA[name])


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_ecdsa_signatures_verify(world: World, keys: TokenKeys, name: str) -> None:
    signature = keys.sign("ec-sign", hashlib.new(name, b"attributes").digest(), Mechanism(f"ecdsa-{name}"))
    world.ec("ec-sign").verify(signature, b"attributes", ec.ECDSA(SHA[name]))


@pytest.mark.parametrize(
    ("key", "mechanism", "options"),
    [
        ("sign", Mechanism.RSA_PKCS1_SHA256, []),
        ("sign", Mechanism.RSA_PSS_SHA256, ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]),
        ("ec-sign", Mechanism.ECDSA_SHA256, []),
    ],
)
def test_openssl_verifies(
    world: World, keys: TokenKeys, tmp_path: Path, key: str, mechanism: Mechanism, options: list[str]
) -> None:
    public = load_der_public_key(world.public[key])
    (tmp_path / "public").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "data").write_bytes(b"attributes")
    (tmp_path / "signature").write_bytes(keys.sign(key, hashlib.sha256(b"attributes").digest(), mechanism))
    verify = ["openssl", "dgst", "-sha256", "-verify", "public", "-signature", "signature", *options, "data"]
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True, check=True).stdout == b"Verified OK\n"


def test_pkcs1_unwraps(world: World, keys: TokenKeys) -> None:
    for length in (16, 24, 32):
        wrapped = world.rsa("decrypt").encrypt(CEK[:length], padding.PKCS1v15())
        assert keys.unwrap("decrypt", Pkcs1(wrapped, length)) == CEK[:length]


@pytest.mark.parametrize("digest", [Digest(name) for name in SHA])
@pytest.mark.parametrize("label", [b"", b"label"])
def test_oaep_unwraps(world: World, keys: TokenKeys, digest: Digest, label: bytes) -> None:
    scheme = padding.OAEP(padding.MGF1(SHA[digest]), SHA[digest], label)
    wrapped = world.rsa("decrypt").encrypt(CEK, scheme)
    assert keys.unwrap("decrypt", Oaep(wrapped, 32, digest, digest, label)) == CEK


def agreed(public: ec.EllipticCurvePublicKey, digest: str = "sha256", wrap: int = 16) -> Ecdh:
    """What a sender does (RFC 5753 3.1.1)."""
    ephemeral = ec.generate_private_key(public.curve)
    shared = ephemeral.exchange(ec.ECDH(), public)
    wrapper = X963KDF(algorithm=SHA[digest], length=wrap, sharedinfo=b"shared info").derive(shared)
    info = ephemeral.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Ecdh(aes_key_wrap(wrapper, CEK), 32, info, Digest(digest), b"shared info", wrap)


@pytest.mark.parametrize("name", ["ec-decrypt", "ec384-decrypt"])
@pytest.mark.parametrize(("digest", "wrap"), [("sha1", 16), ("sha256", 16), ("sha384", 32), ("sha512", 24)])
def test_ecdh_unwraps(world: World, keys: TokenKeys, name: str, digest: str, wrap: int) -> None:
    assert keys.unwrap(name, agreed(world.ec(name), digest, wrap)) == CEK


def bad_pkcs1(public: rsa.RSAPublicKey) -> list[Pkcs1]:
    size, numbers = 256, public.public_numbers()
    blocks = [b"\0\1" + b"\x77" * 221 + b"\0" + CEK, b"\0\2" + b"\x77" * 254, b"\0\2" + b"\x77" * 220 + b"\0" + CEK + b"!"]
    wrapped = [pow(int.from_bytes(block), numbers.e, numbers.n).to_bytes(size) for block in blocks]
    odd = [
        bytes(size),
        b"\0" * 255 + b"\1",
        b"\xff" * size,
        (numbers.n - 1).to_bytes(size),
        numbers.n.to_bytes(size),
        b"",
        b"short",
    ]
    return [Pkcs1(one, 32) for one in (*wrapped, *odd, b"\x17" * 300)]


def test_a_bad_padding_or_length_gives_a_random_key_each_time(world: World, keys: TokenKeys) -> None:
    for bad in bad_pkcs1(world.rsa("decrypt")):
        answers = {keys.unwrap("decrypt", bad) for _ in range(3)}
        assert len(answers) == 3
        assert {len(answer) for answer in answers} == {32}
    wrapped = world.rsa("decrypt").encrypt(CEK[:16], padding.PKCS1v15())
    assert len(keys.unwrap("decrypt", Pkcs1(wrapped, 32))) == 32
    assert len(keys.unwrap("decrypt", Oaep(wrapped, 16, Digest.SHA256, Digest.SHA256))) == 16


def test_bad_ecdh_gives_a_random_key_each_time(world: World, keys: TokenKeys) -> None:
    good, foreign = agreed(world.ec("ec-decrypt")), agreed(world.ec("ec384-decrypt"))
    broken = bytearray(good.wrapped)
    broken[5] ^= 1
    point_off_curve = bytearray(good.originator)
    point_off_curve[-1] ^= 1
    for bad in (
        Ecdh(bytes(broken), 32, good.originator, good.digest, good.shared_info, 16),
        Ecdh(good.wrapped, 16, good.originator, good.digest, good.shared_info, 16),
        Ecdh(good.wrapped, 32, good.originator, good.digest, b"other", 16),
        Ecdh(good.wrapped, 32, bytes(point_off_curve), good.digest, good.shared_info, 16),
        Ecdh(good.wrapped, 32, foreign.originator, good.digest, good.shared_info, 16),
        Ecdh(good.wrapped, 32, world.public["decrypt"], good.digest, good.shared_info, 16),
        Ecdh(good.wrapped, 32, b"", good.digest, good.shared_info, 16),
        Ecdh(b"", 32, good.originator, good.digest, good.shared_info, 16),
    ):
        answers = {keys.unwrap("ec-decrypt", bad) for _ in range(3)}
        assert len(answers) == 3
        assert {len(answer) for answer in answers} == {bad.length}


def test_a_bad_padding_costs_the_token_the_same_one_operation(
    world: World, keys: TokenKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes, exactly one raw RSA operation is done."""
    keys.look("decrypt")
    calls: list[int] = []
    handle: Any = keys._key("decrypt").handle
    decrypt = type(handle).decrypt

    def counted(key: object, block: bytes, **more: object) -> bytes:
        calls.append(len(block))
        return bytes(decrypt(key, block, **more))

    monkeypatch.setattr(type(handle), "decrypt", counted, raising=True)
    for wrapped in (Pkcs1(world.rsa("decrypt").encrypt(CEK, padding.PKCS1v15()), 32), *bad_pkcs1(world.rsa("decrypt"))):
        calls.clear()
        keys.unwrap("decrypt", wrapped)
        assert calls == [256]


def test_a_key_does_only_what_it_was_made_for(world: World, keys: TokenKeys) -> None:
    digest = hashlib.sha256(b"").digest()
    with pytest.raises(TokenError, match="'decrypt' may not sign"):
        keys.sign("decrypt", digest, Mechanism.RSA_PKCS1_SHA256)
    with pytest.raises(TokenError, match="'sign' may not decrypt"):
        keys.unwrap("sign", Pkcs1(bytes(256), 32))
    with pytest.raises(TokenError, match="'ec-sign' may not agree"):
        keys.unwrap("ec-sign", agreed(world.ec("ec-sign")))
    with pytest.raises(TokenError, match="'ec-sign' is of another kind"):
        keys.sign("ec-sign", digest, Mechanism.RSA_PKCS1_SHA256)


def test_private_keys_cannot_leave_the_token(world: World) -> None:
    with administer(world.token, world.folder / "keys") as administration:
        for facts in administration.listing():
            key = administration._one(pkcs11.ObjectClass.PRIVATE_KEY, facts.label)
            assert key[pkcs11.Attribute.SENSITIVE]
            assert not key[pkcs11.Attribute.EXTRACTABLE]
            assert facts.identifier == hashlib.sha1(world.public[facts.label], usedforsecurity=False).hexdigest()


def test_a_missing_module_is_named(world: World) -> None:
    token = world.token.model_copy(update={"module": Path("/nowhere/module.so")})
    with pytest.raises(TokenError, match=r"no PKCS#11 module at /nowhere/module.so"):
        world.keys(token).open()


def test_a_file_that_is_no_module_is_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "module.so").write_bytes(b"nothing")
    token = world.token.model_copy(update={"module": tmp_path / "module.so"})
    with pytest.raises(TokenError, match=r"PKCS#11 module .*module.so cannot be opened"):
        world.keys(token).open()


def test_a_missing_token_is_named_with_those_that_are_there(world: World) -> None:
    token = world.token.model_copy(update={"label": "other"})
    with pytest.raises(TokenError, match=r"no token is labelled 'other'.*has: 'hospital'.*--list-token-slots"):
        world.keys(token).open()


def test_a_missing_key_is_named_and_how_to_list(world: World, keys: TokenKeys) -> None:
    with pytest.raises(TokenError, match=r"no private key is labelled 'absent' on token 'hospital'.*smime-gateway key list"):
        keys.sign("absent", bytes(32), Mechanism.RSA_PKCS1_SHA256)
    assert keys.sign("sign", bytes(32), Mechanism.RSA_PKCS1_SHA256), "another key is not concerned"


def test_a_token_that_went_away_and_came_back_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = new_token(tmp_path / "hsm")
    generate(token, tmp_path, sign=(KeyKind.P256, KeyUse.SIGN))
    monkeypatch.setenv("SOFTHSM2_CONF", token.environment["SOFTHSM2_CONF"])
    monkeypatch.setattr("gateway.edge.pkcs11.REOPEN_SECONDS", 0.0)
    keys = TokenKeys(token, tmp_path / "keys")
    try:
        assert keys.sign("sign", bytes(32), Mechanism.ECDSA_SHA256)
        (tmp_path / "hsm" / "tokens").rename(tmp_path / "away")
        for _ in range(2):
            with pytest.raises(TokenError, match=r"cannot be opened: GeneralError; see that SOFTHSM2_CONF="):
                keys.sign("sign", bytes(32), Mechanism.ECDSA_SHA256)
        (tmp_path / "away").rename(tmp_path / "hsm" / "tokens")
        assert keys.sign("sign", bytes(32), Mechanism.ECDSA_SHA256)
    finally:
        keys.close()


def test_a_session_that_died_is_opened_again_unseen(world: World, keys: TokenKeys) -> None:
    assert keys.sign("sign", bytes(32), Mechanism.RSA_PKCS1_SHA256)
    pkcs11.lib(str(world.token.module)).reinitialize()
    assert keys.sign("sign", bytes(32), Mechanism.RSA_PKCS1_SHA256)


class TestWrongPin:
    """One attempt in all."""

    @pytest.fixture
    def token(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
        monkeypatch.setattr("gateway.edge.pkcs11.REOPEN_SECONDS", 0.0)
        token = new_token(tmp_path / "hsm")
        monkeypatch.setenv("SOFTHSM2_CONF", token.environment["SOFTHSM2_CONF"])
        return token

    def low(self, token: Token) -> bool:
        """The token's own word that a login failed since the last good one."""
        try:
            found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
            return pkcs11.TokenFlag.USER_PIN_COUNT_LOW in found.flags
        finally:
            pkcs11.lib(str(token.module)).finalize()

    def test_is_not_tried_again_by_anybody_until_the_source_changes(self, token: Token, tmp_path: Path) -> None:
        assert token.pin.file is not None
        token.pin.file.write_text("000000\n")
        with pytest.raises(PinRefusedError, match=r"refused the PIN from file .*pin; it is not tried again"):
            TokenKeys(token, tmp_path / "keys").open()
        assert self.low(token)
        # Were the PIN tried again now that the token would take it, this would succeed: it must not even be tried.
        self.change_pin_on_token(token, "000000")
        assert not self.low(token)
        for _ in range(3):
            with pytest.raises(PinRefusedError):
                TokenKeys(token, tmp_path / "keys").open()
        self.change_pin_on_token(token, PIN)
        token.pin.file.write_text(PIN)
        keys = TokenKeys(token, tmp_path / "keys")
        keys.open()
        keys.close()
        assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["token.lock"]

    def change_pin_on_token(self, token: Token, pin: str) -> None:
        found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
        found.open(rw=True, so_pin="9" + PIN).init_pin(pin)
        pkcs11.lib(str(token.module)).finalize()
        found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
        found.open(user_pin=pin)
        pkcs11.lib(str(token.module)).finalize()

    def test_an_agent_killed_in_its_login_leaves_a_trace_that_counts(self, token: Token, tmp_path: Path) -> None:
        """The marker of an attempt, and a token that says the last login failed, together are a refused PIN."""
        assert token.pin.file is not None
        token.pin.file.write_text("000000\n")
        with pytest.raises(PinRefusedError):
            TokenKeys(token, tmp_path / "keys").open()
        (tmp_path / "keys" / "pin-refused").rename(tmp_path / "keys" / "pin-trying")
        with pytest.raises(PinRefusedError):
            TokenKeys(token, tmp_path / "keys").open()
        assert (tmp_path / "keys" / "pin-refused").exists()

    def test_an_agent_killed_in_a_good_login_harms_nobody(self, token: Token, tmp_path: Path) -> None:
        """The marker of an attempt alone, with a token that knows of no failure, is forgotten."""
        PinGuard(token, tmp_path).trying(PIN)
        (tmp_path / "keys").mkdir()
        (tmp_path / "pin-trying").rename(tmp_path / "keys" / "pin-trying")
        keys = TokenKeys(token, tmp_path / "keys")
        keys.open()
        keys.close()

    def test_the_marker_is_private_and_holds_no_pin(self, token: Token, tmp_path: Path) -> None:
        assert token.pin.file is not None
        token.pin.file.write_text("771177\n")
        with pytest.raises(PinRefusedError) as error:
            TokenKeys(token, tmp_path / "keys").open()
        marker = tmp_path / "keys" / "pin-refused"
        assert marker.stat().st_mode & 0o777 == 0o600
        assert "771177" not in marker.read_text() + str(error.value)

    def test_a_missing_pin_is_no_attempt(self, token: Token, tmp_path: Path) -> None:
        missing = token.model_copy(update={"pin": Secret(file=tmp_path / "nothing")})
        with pytest.raises(Exception, match="nothing: No such file"):
            TokenKeys(missing, tmp_path / "keys").open()
        assert not self.low(token)
