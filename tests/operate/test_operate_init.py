"""``init``: what it makes is checked by ``openssl``, by the token, and by our own ``check`` and agents."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from gateway.edge.tokensession import TokenError
from gateway.operate.cli import main
from gateway.operate.init import SOFTHSM, Plan, initialise


def smime_gateway(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def init(folder: Path, *options: str | Path) -> None:
    result = smime_gateway("init", folder, "--organisation", "hospital", "--domain", "hospital.example", *options)
    assert result.exit_code == 0, result.output


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "hospital"
    init(folder, "--lab", "--crl-url", "http://127.0.0.1:8089/ca.crl")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "hospital"
    init(folder, "--key-kind", "p256")
    return folder


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "certificates" / f"{name}.pem").read_bytes())


def test_a_lab_passes_check_at_once(lab: Path) -> None:
    result = smime_gateway("check", "--config", lab / "gateway.toml")
    assert result.exit_code == 0, result.output


def test_check_live_opens_every_key(lab: Path) -> None:
    result = smime_gateway("check", "--live", "--json", "--config", lab / "gateway.toml")
    keys = {probe["part"]: probe["ok"] for probe in json.loads(result.output)["live"] if probe["part"].startswith("key:")}
    assert keys == {"key:hospital-sign": True, "key:hospital-decrypt": True, "key:spool-1": True, "key:audit-1": True}


@pytest.mark.parametrize("name", ["hospital-sign", "hospital-decrypt", "tls"])
def test_openssl_accepts_what_the_lab_issued(lab: Path, name: str) -> None:
    purpose = "sslserver" if name == "tls" else "smimesign" if name.endswith("sign") else "smimeencrypt"
    leaf, ca, crl = lab / "certificates" / f"{name}.pem", lab / "lab-ca" / "ca.pem", lab / "lab-ca" / "ca.crl"
    told = openssl("verify", "-x509_strict", "-purpose", purpose, "-crl_check", "-CRLfile", crl, "-CAfile", ca, leaf)
    assert told.strip().endswith("OK")


def test_certificates_name_the_organisation_as_rfc_3183_does(lab: Path) -> None:
    for name, local in (("hospital-sign", "domain-signing-authority"), ("hospital-decrypt", "domain-confidentiality-authority")):
        names = certificate(lab, name).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.RFC822Name) == [f"{local}@hospital.example"]
        assert names.get_values_for_type(x509.DNSName) == ["hospital.example"]
    shown = certificate(lab, "tls").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(shown) == {Eku.SERVER_AUTH, Eku.CLIENT_AUTH}


def test_certificates_say_where_the_crl_is(lab: Path) -> None:
    for name in ("hospital-sign", "hospital-decrypt", "tls"):
        points = certificate(lab, name).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert [uri.value for point in points for uri in point.full_name or []] == ["http://127.0.0.1:8089/ca.crl"]


@pytest.mark.parametrize("name", ["hospital-sign", "hospital-decrypt", "tls"])
def test_requests_prove_that_we_hold_the_key(lab: Path, plain: Path, name: str) -> None:
    """RSA and EC; the key on the token has signed its own request."""
    for folder in (lab, plain):
        request = folder / "requests" / f"{name}.csr"
        assert "verify OK" in openssl("req", "-in", request, "-noout", "-verify").replace("self-signature ", "")
        domain = "gateway.hospital.example" if name == "tls" else "hospital.example"
        assert f"DNS:{domain}" in openssl("req", "-in", request, "-noout", "-text")
    issued, asked = certificate(lab, name), x509.load_pem_x509_csr((lab / "requests" / f"{name}.csr").read_bytes())
    assert issued.public_key() == asked.public_key()


def test_secrets_are_for_their_owner_alone(lab: Path) -> None:
    for path in ("secrets/pin", "secrets/tls.key", "lab-ca/ca.key"):
        assert (lab / path).stat().st_mode & 0o777 == 0o600
    for path in ("secrets", "state", "state/tokens"):
        assert (lab / path).stat().st_mode & 0o777 == 0o700
    pin = (lab / "secrets" / "pin").read_text().strip()
    assert len(pin) == 12
    assert pin not in (lab / "gateway.toml").read_text()


def test_pkcs11_tool_sees_the_keys_and_what_each_may_do(lab: Path) -> None:
    told = subprocess.run(
        [
            "pkcs11-tool",
            "--module",
            str(SOFTHSM),
            "--token-label",
            "hospital",
            "--login",
            "--pin",
            "env:PIN",
            "-O",
            "-y",
            "privkey",
        ],
        env={"SOFTHSM2_CONF": str(lab / "softhsm2.conf"), "PIN": (lab / "secrets" / "pin").read_text().strip()},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    objects = {block.split("label:")[1].split()[0]: block for block in told.split("Private Key Object")[1:]}
    uses = {"hospital-sign": "sign", "hospital-decrypt": "decrypt", "spool-1": "decrypt", "audit-1": "sign"}
    assert objects.keys() == uses.keys()
    for label, use in uses.items():
        assert f"Usage:      {use}\n" in objects[label]
        assert "sensitive, always sensitive, never extractable" in objects[label]


@pytest.mark.parametrize("name", ["spool-1", "audit-1"])
def test_the_keys_of_the_gateway_itself_have_a_public_half(lab: Path, name: str) -> None:
    openssl("pkey", "-pubin", "-in", lab / "certificates" / f"{name}.pem", "-noout")
    assert load_pem_public_key((lab / "certificates" / f"{name}.pem").read_bytes())


def test_two_organisations_share_an_authority(lab: Path, tmp_path: Path) -> None:
    result = smime_gateway(
        "init", tmp_path / "lab", "--organisation", "laboratory", "--domain", "laboratory.example", "--lab", "--ca", lab / "lab-ca"
    )
    assert result.exit_code == 0, result.output
    ours, theirs = (folder / "anchors" / "lab.pem" for folder in (lab, tmp_path / "lab"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert openssl("verify", "-CAfile", ours, tmp_path / "lab" / "certificates" / "laboratory-sign.pem").strip().endswith("OK")


def test_without_a_lab_check_says_which_certificates_are_awaited(plain: Path) -> None:
    result = smime_gateway("check", "--config", plain / "gateway.toml")
    assert result.exit_code == 2
    for name in ("hospital-sign.pem", "hospital-decrypt.pem", "tls.pem"):
        assert name in result.output


def test_a_configuration_is_never_overwritten(lab: Path) -> None:
    before = (lab / "gateway.toml").read_bytes()
    result = smime_gateway("init", lab, "--lab")
    assert result.exit_code == 2
    assert "has a configuration already" in result.output
    assert (lab / "gateway.toml").read_bytes() == before


@pytest.mark.parametrize("name", ["two words", 'quo"te', "", "x" * 33, "-first", "dotted.name"])
def test_a_name_that_would_break_the_configuration_is_refused(tmp_path: Path, name: str) -> None:
    assert smime_gateway("init", tmp_path / "new", "--organisation", name).exit_code == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["--ca", "--crl-url"])
def test_what_belongs_to_a_lab_is_not_passed_over_without_one(tmp_path: Path, option: str) -> None:
    """Whoever gives it believes to have a test authority."""
    result = smime_gateway("init", tmp_path / "new", option, "http://127.0.0.1:8089/ca.crl")
    assert result.exit_code == 2
    assert "--lab" in result.output
    assert not (tmp_path / "new").exists()


def test_without_softhsm_nothing_is_begun(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "new", "hospital", "hospital.example", module=tmp_path / "no-module.so")
    with pytest.raises(TokenError, match="apt-get install softhsm2"):
        initialise(plan, None, datetime.now(UTC))
    assert not (tmp_path / "new").exists()


def test_key_list_names_every_key_and_the_token(lab: Path) -> None:
    result = smime_gateway("key", "list", "--json", "--config", lab / "gateway.toml")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert [(key["name"], key["where"], key["state"]) for key in told["keys"]] == [
        ("hospital-sign", "token", "ready"),
        ("hospital-decrypt", "token", "ready"),
        ("spool-1", "token", "ready"),
        ("audit-1", "token", "ready"),
    ]
    assert [(key["label"], key["kind"]) for key in told["token"]] == [
        ("audit-1", "RSA 2048"),
        ("hospital-decrypt", "RSA 2048"),
        ("hospital-sign", "RSA 2048"),
        ("spool-1", "RSA 2048"),
    ]


def test_key_list_says_which_key_is_missing(lab: Path) -> None:
    text = (lab / "gateway.toml").read_text().replace("hospital-sign]", "hospital-seal]")
    (lab / "other.toml").write_text(text)
    result = smime_gateway("key", "list", "--config", lab / "other.toml")
    assert result.exit_code == 1, result.output
    assert "hospital-seal" in next(line for line in result.output.splitlines() if line.endswith("missing"))
