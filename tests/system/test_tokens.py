"""Messages that openssl made are opened with keys on tokens of others: SoftHSM, and NSS softoken by way of p11-kit.

The whole inbound heart takes part: the reader, an unwrap agent as a process of its own behind its socket, decryption, the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from gateway.config.model import KeyPurpose, Token
from gateway.edge.agentclient import AgentUnwrapper
from gateway.edge.tokensetup import KeyKind, KeyUse
from gateway.flow.opening import Opened, open_message
from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from tests.agents import Agents, key_config
from tests.doubles import MemoryBodies, MemoryBody
from tests.flow.opened import ENTITY, HEADER, HOSTNAME, READER, SENDER, believing, bytes_of, sign
from tests.nss import missing, nss_token
from tests.pki import NOW, Ca, Issued, microseconds, new_key, to_pem
from tests.smime.openssl import openssl
from tests.softhsm import generate, new_token

pytestmark = pytest.mark.timeout(120)

AT = microseconds(NOW.replace(year=2030))
OAEP = ("-keyopt", "rsa_padding_mode:oaep")
TRANSPORT = {
    "pkcs1": (),
    "oaep-sha1": OAEP,
    "oaep-sha256": (*OAEP, "-keyopt", "rsa_oaep_md:sha256"),
    "oaep-sha384-label": (*OAEP, "-keyopt", "rsa_oaep_md:sha384", "-keyopt", "rsa_oaep_label:6c6162"),
}
AGREEMENT = {
    f"{name}-{digest}": (name, ("-keyopt", f"ecdh_kdf_md:{digest}"))
    for name in ("p256", "p384")
    for digest in ("sha1", "sha256", "sha384")
}


@dataclass
class World:
    """A token with keys, an agent in front of it, a sender whom everybody believes."""

    folder: Path
    ca: Ca
    sender: Issued
    certificates: dict[str, bytes]
    agents: Agents

    async def opened(self, name: str, cipher: str, options: tuple[str, ...] = (), of: bytes | None = None) -> Opened:
        """What becomes of a message signed by the sender, and encrypted to the key ``name``, or to the certificate ``of``."""
        certificate = self.folder / f"{name}.pem"
        certificate.write_bytes(of or to_pem(self.certificates[name]))
        signed = sign(self.folder, ENTITY, self.sender)
        entity = openssl("cms", "-encrypt", "-binary", "-outform", "SMIME", cipher, "-recip", certificate, *options, data=signed)
        unwrapper = AgentUnwrapper([self.folder / "unwrap-0.sock"])
        try:
            return await open_message(
                MemoryBody(HEADER + entity.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
                MemoryBodies(),
                unwrapper=unwrapper,
                keys=self.certificates,
                judge=believing(self.ca),
                at=AT,
                hostname=HOSTNAME,
            )
        finally:
            await unwrapper.close()


def certified(ca: Ca, public: bytes) -> bytes:
    """A reader's certificate for a key whose private half is elsewhere."""
    key = load_der_public_key(public)
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    usage = "key_encipherment" if isinstance(key, rsa.RSAPublicKey) else "key_agreement"
    return ca.leaf(f"CN={READER}", emails=[READER], ku=[usage], key=Elsewhere(key)).der  # type: ignore[arg-type]


@dataclass
class Elsewhere:
    """A private key of which there is only the public half."""

    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    def public_key(self) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
        return self.public


def with_key(certificate: x509.Certificate, key: rsa.RSAPublicKey) -> bytes:
    """A certificate (PEM) of the same issuer and serial number for another key. What it is signed with nobody looks at."""
    signer = new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(key)
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def world(folder: Path, token: Token, ca: Ca, certificates: dict[str, bytes]) -> World:
    agents = Agents(folder, key_config(folder, token, dict.fromkeys(certificates, KeyPurpose.DECRYPT)))
    return World(folder, ca, ca.signer(SENDER, "rsa2048"), certificates, agents)


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, ca = tmp_path_factory.mktemp("softhsm"), Ca.root()
    token = new_token(folder / "hsm")
    kinds = {"rsa": KeyKind.RSA_2048, "p256": KeyKind.P256, "p384": KeyKind.P384}
    public = generate(token, folder, **{name: (kind, KeyUse.DECRYPT) for name, kind in kinds.items()})
    made = world(folder, token, ca, {name: certified(ca, each) for name, each in public.items()})
    made.agents.start("unwrap-0", sign=False)
    yield made
    made.agents.close()


@pytest.fixture(scope="module")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if missing():
        pytest.skip(f"NSS softoken by way of p11-kit: not here are {missing()} (deploy/setup test)")
    folder, ca = tmp_path_factory.mktemp("nss"), Ca.root()
    reader = ca.reader(READER)
    with nss_token(rsa=reader) as token:
        made = world(folder, token, ca, {"rsa": reader.der})
        made.agents.start("unwrap-0", sign=False)
        yield made
        made.agents.close()


def whole(result: Opened, key: str) -> None:
    """Opened with that key, verified, and the entity as it went in."""
    assert (result.verdict.judged, result.verdict.encrypted, result.keys) == (Judged.VERIFIED, True, (key,))
    assert bytes_of(result).endswith(ENTITY.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("cipher", ["-aes-256-cbc", "-aes-128-gcm"])
@pytest.mark.parametrize("transport", TRANSPORT)
@pytest.mark.parametrize("token", ["softhsm", "nss"])
async def test_rsa(request: pytest.FixtureRequest, token: str, transport: str, cipher: str) -> None:
    """RFC 3370 4.2.1 and RFC 3560, by raw RSA on the token (CKM_RSA_X_509)."""
    there: World = request.getfixturevalue(token)
    whole(await there.opened("rsa", cipher, TRANSPORT[transport]), "rsa")


@pytest.mark.parametrize("cipher", ["-aes-256-cbc", "-aes-128-gcm"])
@pytest.mark.parametrize("agreement", AGREEMENT)
async def test_ecdh(softhsm: World, agreement: str, cipher: str) -> None:
    """RFC 5753, the agreement on the token and the rest in the agent. p11-kit 0.24 carries no CKM_ECDH1_DERIVE to NSS."""
    name, options = AGREEMENT[agreement]
    whole(await softhsm.opened(name, cipher, options), name)


@pytest.mark.parametrize("transport", TRANSPORT)
@pytest.mark.parametrize("token", ["softhsm", "nss"])
async def test_a_key_wrapped_for_another_opens_nothing(request: pytest.FixtureRequest, token: str, transport: str) -> None:
    """Under our name, by another public key: one answer, whatever the token thinks of it."""
    there: World = request.getfixturevalue(token)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    ours = x509.load_der_x509_certificate(there.certificates["rsa"])
    result = await there.opened("rsa", "-aes-256-cbc", TRANSPORT[transport], of=with_key(ours, other))
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.UNDECRYPTABLE, (Reason.INTEGRITY,))
