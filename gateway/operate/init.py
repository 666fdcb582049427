"""``smime-gateway init DIR``: a working configuration, a SoftHSM token with its keys, and requests for their certificates.

With ``--lab`` a test authority issues the certificates at once, so that ``check`` and ``run`` work without waiting for anybody;
several directories may share one authority (``--ca``), which makes them peers of one trust zone. Everything lies below DIR.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from gateway.config.model import Secret, Token
from gateway.edge.tokensetup import LABEL_SIZE, KeyKind, KeyUse, administer, create_token, require_module
from gateway.mail.address import AddressError, normal_domain
from gateway.operate.lab import LabCa, Subject, write_private
from gateway.operate.output import Exit, Settings, answer, command_options
from gateway.operate.request import public_pem, request_certificate
from gateway.operate.sample import gateway_toml, zone_toml

SOFTHSM: Final = Path("/usr/lib/softhsm/libsofthsm2.so")
SPOOL_KEY: Final = "spool-1"
AUDIT_KEY: Final = "audit-1"
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LABEL_SIZE - 1}}}")  # a bare key of TOML, and a token's label


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``init`` is to make, where."""

    directory: Path
    organisation: str
    domain: str
    kind: KeyKind = KeyKind.RSA_2048
    module: Path = SOFTHSM

    @property
    def hostname(self) -> str:
        """What the gateway calls itself."""
        return f"gateway.{self.domain}"

    @property
    def token(self) -> Token:
        """The token, all of it below the directory."""
        return Token(
            module=self.module,
            label=self.organisation,
            pin=Secret(file=self.directory / "secrets" / "pin"),
            environment={"SOFTHSM2_CONF": str(self.directory / "softhsm2.conf")},
        )

    def subjects(self) -> dict[str, Subject]:
        """The certificates the organisation needs for its mail, by key name (RFC 3183 names the two addresses)."""
        return {
            f"{self.organisation}-sign": Subject(
                f"{self.organisation} signing", (f"domain-signing-authority@{self.domain}",), (self.domain,)
            ),
            f"{self.organisation}-decrypt": Subject(
                f"{self.organisation} confidentiality",
                (f"domain-confidentiality-authority@{self.domain}",),
                (self.domain,),
                ("key_encipherment",) if self.kind.startswith("rsa") else ("key_agreement",),
            ),
        }

    def tls_subject(self) -> Subject:
        """The certificate the gateway shows to its peers, as server and as client."""
        return Subject(self.hostname, (), (self.hostname,), purposes=(Eku.SERVER_AUTH, Eku.CLIENT_AUTH))


def initialise(plan: Plan, ca: LabCa | None, at: datetime) -> None:
    """Make everything. ``ca`` issues the certificates where it is given. Raises ``FileExistsError``, ``TokenError``."""
    base = plan.directory
    require_module(plan.token)
    base.mkdir(mode=0o750, parents=True, exist_ok=True)
    for name in ("certificates", "requests", "zones", "partners", "anchors"):
        (base / name).mkdir(mode=0o750)
    for name in ("secrets", "state", "state/tokens"):
        (base / name).mkdir(mode=0o700)
    write_private(base / "secrets" / "pin", f"{secrets.randbelow(10**12):012d}\n".encode())
    (base / "softhsm2.conf").write_text(
        f"directories.tokendir = {base / 'state' / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    public_keys = _make_keys(plan)
    for name in (SPOOL_KEY, AUDIT_KEY):
        (base / "certificates" / f"{name}.pem").write_bytes(public_pem(public_keys[name]))
    public_keys["tls"] = _make_tls_key(plan)
    if ca is not None:
        (base / "anchors" / "lab.pem").write_bytes((ca.folder / "ca.pem").read_bytes())
        for name, subject in {**plan.subjects(), "tls": plan.tls_subject()}.items():
            (base / "certificates" / f"{name}.pem").write_bytes(ca.issue(subject, public_keys[name], at))
        (base / "zones" / "lab.toml").write_text(zone_toml())
    (base / "gateway.toml").write_text(gateway_toml(plan, lab=ca is not None))


def _make_keys(plan: Plan) -> dict[str, bytes]:
    """The token and its key pairs; gives their public keys (DER), and writes a request for each certificate."""
    pin = (plan.directory / "secrets" / "pin").read_text().strip()
    create_token(plan.token, pin, so_pin=f"{secrets.randbelow(10**12):012d}")
    public_keys: dict[str, bytes] = {}
    with administer(plan.token, plan.directory / "state" / "keys") as token:
        public_keys[SPOOL_KEY] = token.generate(SPOOL_KEY, KeyKind.RSA_2048, KeyUse.DECRYPT)
        public_keys[AUDIT_KEY] = token.generate(AUDIT_KEY, KeyKind.RSA_2048, KeyUse.SIGN)
        for name, subject in plan.subjects().items():
            use = KeyUse.SIGN if name.endswith("-sign") else KeyUse.DECRYPT
            public_keys[name] = token.generate(name, plan.kind, use)
            request = request_certificate(subject, plan.organisation, public_keys[name], partial(token.prove, name))
            (plan.directory / "requests" / f"{name}.csr").write_bytes(request)
    return public_keys


def _make_tls_key(plan: Plan) -> bytes:
    """A TLS key in a file, since a TLS library wants to hold it, and its request; gives the public key (DER)."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(plan.directory / "secrets" / "tls.key", private)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    sign = partial(key.sign, signature_algorithm=ec.ECDSA(hashes.SHA256()))
    request = request_certificate(plan.tls_subject(), plan.organisation, public, sign)
    (plan.directory / "requests" / "tls.csr").write_bytes(request)
    return public


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--organisation", default="example", show_default=True, help="Its name in the configuration.")
@click.option("--domain", default="organisation.example", show_default=True, help="Its mail domain.")
@click.option("--key-kind", type=click.Choice([kind.value for kind in KeyKind]), default=KeyKind.RSA_2048.value, show_default=True)
@click.option("--lab", is_flag=True, help="Certificates from a test authority, so that everything works at once.")
@click.option("--ca", type=click.Path(file_okay=False, path_type=Path), help="The test authority's folder.  [default: DIR/lab-ca]")
@click.option("--crl-url", help="Where the test authority's CRL (ca.crl) is published.")
@command_options
def init(
    settings: Settings,
    directory: Path,
    organisation: str,
    domain: str,
    key_kind: str,
    lab: bool,
    ca: Path | None,
    crl_url: str | None,
) -> None:
    """Make a working configuration below DIRECTORY, with a SoftHSM token and its keys."""
    base = directory.absolute()
    if (base / "gateway.toml").exists():
        raise click.UsageError(f"{base} has a configuration already")
    if not lab and (ca is not None or crl_url is not None):
        raise click.UsageError("--ca and --crl-url are about a test authority, and belong to --lab")
    if not _NAME.fullmatch(organisation):
        raise click.UsageError(f"{organisation!r} is not a plain name: letters, digits, _ and -, at most {LABEL_SIZE}")
    try:
        plan = Plan(base, organisation, normal_domain(domain), KeyKind(key_kind))
    except AddressError as error:
        raise click.UsageError(f"{domain} is not a domain name") from error
    at = datetime.now(UTC)
    authority = _authority(ca or base / "lab-ca", crl_url, at) if lab else None
    initialise(plan, authority, at)
    lines = [f"Configuration, token and keys are in {base}."]
    if lab:
        lines.append(f"The test authority is in {authority.folder if authority else base}; publish its ca.crl. Not for real mail.")
    else:
        lines.append(f"Have the requests in {base / 'requests'} certified and put the certificates into {base / 'certificates'}.")
        lines.append(f"Their names there: {', '.join(f'{name}.pem' for name in (*plan.subjects(), 'tls'))}.")
    lines.append(f"Next: smime-gateway check --config {base / 'gateway.toml'}")
    answer(settings, {"directory": str(base), "configuration": str(base / "gateway.toml")}, lines)
    click.get_current_context().exit(Exit.DONE)


def _authority(folder: Path, crl_url: str | None, at: datetime) -> LabCa:
    return LabCa(folder, crl_url) if (folder / "ca.pem").exists() else LabCa.create(folder, crl_url, at)
