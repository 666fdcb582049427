"""The keys of an agent, in files, and the certificates they sign under."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from gateway.config.kinds import contents, first_certificate
from gateway.config.model import Config, Key, KeyPurpose, KeyStore
from gateway.edge.keyring import SIGNING, KeyRing
from gateway.edge.keywire import SignRequest
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import digest_of
from gateway.smime.mechanisms import mechanism_for
from tests.edge.test_tosign import attributes
from tests.pki import NOW, Ca, microseconds

WHO = "cardiology@hospital.example"


def ring(folder: Path, kind: str, *, other: bool) -> KeyRing:
    """A key that signs; its certificate is that of another key of the same kind where ``other``."""
    ca = Ca.root()
    ca.signer(WHO, kind).write(folder, "sign")
    if other:
        (folder / "sign.pem").write_bytes(ca.signer(WHO, kind).pem)
    section = Key.model_construct(
        purpose=KeyPurpose.SIGN,
        store=KeyStore.FILE,
        file=folder / "sign.key",
        certificate=folder / "sign.pem",
        passphrase=None,
        mechanism=None,
    )
    parts: dict[str, Any] = {"token": None, "key": {"sign": section}, "state": folder, "agents": None}
    return KeyRing(Config.model_construct(**parts), SIGNING, lambda: microseconds(NOW))


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_a_key_signs_under_its_own_certificate_alone(tmp_path: Path, kind: str) -> None:
    """Under another's, what it signs would be refused by everybody; the mail waits, and goes on by itself once that is mended."""

    def sign(keys: KeyRing) -> bytes:
        mechanism = mechanism_for(contents(tmp_path / "sign.pem", first_certificate))
        digest = hashlib.new(digest_of(mechanism)).digest()
        return keys.perform(SignRequest("sign", attributes(at=NOW, digest=digest), mechanism))

    keys = ring(tmp_path, kind, other=False)
    assert keys.unmatched() == {}
    assert sign(keys)
    keys = ring(tmp_path, kind, other=True)
    with pytest.raises(GatewayError, match="'sign' is not the key of its certificate") as raised:
        sign(keys)
    assert raised.value.reason is Reason.KEY_UNAVAILABLE
    assert str(tmp_path / "sign.pem") in keys.unmatched()["sign"].detail
    assert keys.faults() == {}  # it opens: the agent serves its other keys, and says of this one what is wrong


def test_a_certificate_that_is_gone_is_said(tmp_path: Path) -> None:
    keys = ring(tmp_path, "p256", other=False)
    (tmp_path / "sign.pem").unlink()
    assert "sign.pem cannot be read" in keys.unmatched()["sign"].detail
