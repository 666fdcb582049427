"""A test PKI one declares: authorities, what they issued, what they revoked. Every time is passed or stands here.

    root = Ca.root("CN=Zone Root,O=Zone,C=FR")
    issuing = root.intermediate("CN=Zone Issuing,O=Zone,C=FR", crl_urls=["http://crl.zone.example/root.crl"])
    results = issuing.signer("results@laboratory.example")
    crl = issuing.crl(revoked=[results])

A good certificate is a method of its :class:`Ca`. A broken one is a function at the end of this file whose docstring is
its defect.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from asn1crypto import algos as asn1_algos
from asn1crypto import core as asn1_core
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW: Final = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
BEGIN: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
END: Final = dt.datetime(2044, 1, 1, tzinfo=dt.UTC)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
OwnersKey = PrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "p224": ec.SECP224R1(),
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
}
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_EXTENDED: Final = {
    "email": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "code": ExtendedKeyUsageOID.CODE_SIGNING,
}
_SHA1: Final = hashes.SHA1()  # noqa: S303 - CertIDs name certificates with it
_SMTP_UTF8_MAILBOX: Final = ObjectIdentifier("1.3.6.1.5.5.7.8.9")

_CAPABILITIES: Final = ObjectIdentifier("1.2.840.113549.1.9.15")


def microseconds(moment: dt.datetime) -> int:
    """``moment`` as the code under test counts time."""
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def owners_key(kind: str) -> OwnersKey:
    """A fresh private key of a certificate's owner: as :func:`new_key`, or ``ed25519 x25519``."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return x25519.X25519PrivateKey.generate() if kind == "x25519" else new_key(kind)


def new_key(kind: str = "p256") -> PrivateKey:
    """A fresh private key: ``rsa1024 rsa2048 rsa3072 ...`` or ``p224 p256 p384 p521``."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:]))
    return ec.generate_private_key(_CURVES[kind])


@dataclass(frozen=True)
class Issued:
    """A certificate, its private key, and the certificates above it (DER, its issuer first, the root last)."""

    certificate: x509.Certificate
    key: OwnersKey
    above: tuple[bytes, ...]

    @cached_property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @cached_property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @cached_property
    def key_pem(self) -> bytes:
        """The private key, PKCS#8 PEM, not encrypted."""
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    @property
    def intermediates(self) -> tuple[bytes, ...]:
        """What a sender includes: every certificate above but the root."""
        return self.above[:-1]

    @property
    def chain_pem(self) -> bytes:
        """Leaf first, then the intermediates: what a TLS server or a key's ``certificate`` file holds."""
        return self.pem + b"".join(to_pem(der) for der in self.intermediates)

    @property
    def issuing(self) -> PrivateKey:
        """The private key, where it may issue certificates."""
        assert not isinstance(self.key, ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey)
        return self.key

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """``NAME.pem`` (leaf, then intermediates) and ``NAME.key`` in ``folder``; their paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.chain_pem)
        key.write_bytes(self.key_pem)
        key.chmod(0o600)
        return certificate, key


def to_pem(der: bytes) -> bytes:
    """One certificate, DER to PEM."""
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Ca:
    """A certification authority. ``crl_urls`` go into each certificate it issues unless the call says otherwise."""

    certificate: x509.Certificate
    key: PrivateKey
    above: tuple[bytes, ...] = ()
    crl_urls: tuple[str, ...] = ()

    @classmethod
    def root(
        cls,
        subject: str = "CN=Zone Root,O=Zone,C=FR",
        kind: str = "p256",
        crl_urls: Sequence[str] = (),
        not_before: dt.datetime = BEGIN,
        not_after: dt.datetime = END,
    ) -> Ca:
        """A self-signed authority. ``crl_urls`` is where its CRL is published."""
        key, name = new_key(kind), x509.Name.from_rfc4514_string(subject)
        builder = _begin(name, name, key, not_before, not_after)
        builder = _as_authority(builder, key, path_length=None)
        return cls(builder.sign(key, hashes.SHA256()), key, (), tuple(crl_urls))

    @cached_property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @cached_property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """This authority and those above it, DER, the root last."""
        return (self.der, *self.above)

    def intermediate(
        self,
        subject: str = "CN=Zone Issuing,O=Zone,C=FR",
        kind: str = "p256",
        crl_urls: Sequence[str] = (),
        not_before: dt.datetime = BEGIN,
        not_after: dt.datetime = END,
        path_length: int | None = None,
        permitted_domains: Sequence[str] = (),
        eku: Sequence[str] = (),
        issuer_url: str | None = None,
    ) -> Ca:
        """An authority below this one. Its own certificate points to this authority's CRL; ``crl_urls`` is where its own CRL is."""
        key = new_key(kind)
        builder = _begin(x509.Name.from_rfc4514_string(subject), self.certificate.subject, key, not_before, not_after)
        builder = _as_authority(builder, key, path_length)
        builder = _below(builder, self.key, self.crl_urls)
        if permitted_domains:
            names = [x509.RFC822Name(domain) for domain in permitted_domains]
            builder = builder.add_extension(x509.NameConstraints(names, None), critical=True)
        if eku:
            builder = builder.add_extension(x509.ExtendedKeyUsage([_EXTENDED[name] for name in eku]), critical=False)
        if issuer_url is not None:
            place = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_url))
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        return Ca(builder.sign(self.key, hashes.SHA256()), key, self.chain, tuple(crl_urls))

    def leaf(
        self,
        subject: str = "CN=Results,O=Laboratory,C=FR",
        *,
        emails: Sequence[str] = (),
        utf8_emails: Sequence[str] = (),
        dns: Sequence[str] = (),
        ku: Sequence[str] | None = ("digital_signature", "key_encipherment"),
        eku: Sequence[str] | None = ("email",),
        not_before: dt.datetime = BEGIN,
        not_after: dt.datetime = END,
        crl_urls: Sequence[str] | None = None,
        points: Sequence[x509.DistributionPoint] = (),
        freshest: str | None = None,
        ocsp_url: str | None = None,
        issuer_url: str | None = None,
        policy: str | None = None,
        critical: str | None = None,
        capabilities: bytes | None = None,
        kind: str = "p256",
        key: OwnersKey | None = None,
        digest: hashes.HashAlgorithm | None = None,
    ) -> Issued:
        """An end-entity certificate. ``ku``/``eku`` None leave the extension out; ``utf8_emails`` are SmtpUTF8Mailbox names
        (RFC 9598); ``points`` go in place of ``crl_urls``; ``policy`` is a certificate policy OID; ``critical`` the OID of a
        critical extension nobody knows; ``capabilities`` the value of the extension of RFC 4262.
        """
        key = key or owners_key(kind)
        builder = _begin(x509.Name.from_rfc4514_string(subject), self.certificate.subject, key, not_before, not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = _below(builder, self.key, () if points else self.crl_urls if crl_urls is None else crl_urls)
        names: list[x509.GeneralName] = [x509.RFC822Name(email) for email in emails]
        names += [x509.OtherName(_SMTP_UTF8_MAILBOX, asn1_core.UTF8String(email).dump()) for email in utf8_emails]
        names += [x509.DNSName(name) for name in dns]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if ku is not None:
            builder = builder.add_extension(_key_usage(ku), critical=True)
        if eku is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([_EXTENDED[name] for name in eku]), critical=False)
        if policy is not None:
            information = x509.PolicyInformation(ObjectIdentifier(policy), None)
            builder = builder.add_extension(x509.CertificatePolicies([information]), critical=False)
        if points:
            builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
        if freshest is not None:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(freshest)], None, None, None)
            builder = builder.add_extension(x509.FreshestCRL([point]), critical=False)
        methods = (AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS)
        places = [(method, url) for method, url in zip(methods, (ocsp_url, issuer_url), strict=True) if url is not None]
        if places:
            accesses = [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in places]
            builder = builder.add_extension(x509.AuthorityInformationAccess(accesses), critical=False)
        if critical is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(critical), b"\x05\x00"), critical=True)
        if capabilities is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(_CAPABILITIES, capabilities), critical=False)
        return Issued(builder.sign(self.key, digest or hashes.SHA256()), key, self.chain)  # type: ignore[arg-type]

    def signer(self, email: str, kind: str = "p256", **more: object) -> Issued:
        """A mailbox's signing certificate."""
        given = {"subject": f"CN={email}", "emails": [email], "ku": ["digital_signature"], "kind": kind}
        return self.leaf(**(given | more))  # type: ignore[arg-type]

    def reader(self, email: str, kind: str = "rsa2048", **more: object) -> Issued:
        """A mailbox's encryption certificate: key transport for RSA, key agreement for EC."""
        usage = "key_encipherment" if kind.startswith("rsa") else "key_agreement"
        given = {"subject": f"CN={email}", "emails": [email], "ku": [usage], "kind": kind}
        return self.leaf(**(given | more))  # type: ignore[arg-type]

    def organisation_signer(self, domain: str, kind: str = "p256", **more: object) -> Issued:
        """A domain's signing certificate, named as in RFC 3183 2.1."""
        return self.signer(f"domain-signing-authority@{domain}", kind, **more)

    def organisation_reader(self, domain: str, kind: str = "rsa2048", **more: object) -> Issued:
        """A domain's encryption certificate, named as in RFC 3183 2.1."""
        return self.reader(f"domain-confidentiality-authority@{domain}", kind, **more)

    def gateway(self, name: str, kind: str = "p256", **more: object) -> Issued:
        """The TLS certificate of a gateway, good as server and as client. ``name`` is its DNS name."""
        given = {
            "subject": f"CN={name}",
            "dns": [name],
            "ku": ["digital_signature"],
            "eku": ["server", "client"],
            "kind": kind,
        }
        return self.leaf(**(given | more))  # type: ignore[arg-type]

    def crl(
        self,
        revoked: Sequence[Issued | Ca | int] = (),
        at: dt.datetime = NOW,
        lasts: dt.timedelta = dt.timedelta(days=7),
        number: int = 1,
        key: PrivateKey | None = None,
    ) -> bytes:
        """This authority's CRL (DER), issued at ``at``, next one due after ``lasts``. ``key`` signs in place of its own."""
        issuer_key = self.key.public_key()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at)
            .next_update(at + lasts)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        )
        for item in revoked:
            serial = item if isinstance(item, int) else item.certificate.serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at - dt.timedelta(hours=1)).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def responder(
        self, eku: ObjectIdentifier = ExtendedKeyUsageOID.OCSP_SIGNING, *, no_check: bool = True, **more: object
    ) -> Issued:
        """A responder this authority appoints (RFC 6960 4.2.2.2), by default with id-pkix-ocsp-nocheck."""
        key, name = new_key(), x509.Name.from_rfc4514_string("CN=Responder,O=Zone,C=FR")
        dates = {"not_before": BEGIN, "not_after": END, "crl_urls": self.crl_urls} | more
        builder = _begin(name, self.certificate.subject, key, dates["not_before"], dates["not_after"])  # type: ignore[arg-type]
        builder = _below(builder, self.key, dates["crl_urls"])  # type: ignore[arg-type]
        builder = builder.add_extension(x509.ExtendedKeyUsage([eku]), critical=False)
        if no_check:
            builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()), key, self.chain)

    def ocsp(
        self,
        certificate: Issued | Ca,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        by: Issued | None = None,
        at: dt.datetime = NOW,
        lasts: dt.timedelta | None = dt.timedelta(days=1),
        encoding: ocsp.OCSPResponderEncoding = ocsp.OCSPResponderEncoding.HASH,
        digest: hashes.HashAlgorithm = _SHA1,
    ) -> bytes:
        """An OCSPResponse (DER) about ``certificate``, made by this authority or by a responder; ``digest`` is that of the CertID.
        What is revoked was revoked an hour before ``at``.
        """
        revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            certificate.certificate,
            self.certificate,
            digest,
            status,
            at,
            None if lasts is None else at + lasts,
            at - dt.timedelta(hours=1) if revoked else None,
            None,
        )
        signer = self if by is None else by
        builder = builder.responder_id(encoding, signer.certificate)
        if by is not None:
            builder = builder.certificates([by.certificate])
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)  # type: ignore[arg-type]


def _begin(
    subject: x509.Name, issuer: x509.Name, key: OwnersKey, not_before: dt.datetime, not_after: dt.datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, key: PrivateKey, path_length: int | None) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True).add_extension(
        _key_usage(["key_cert_sign", "crl_sign"]), critical=True
    )


def _below(builder: x509.CertificateBuilder, issuer_key: PrivateKey, crl_urls: Sequence[str]) -> x509.CertificateBuilder:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    if crl_urls:
        places = [x509.UniformResourceIdentifier(url) for url in crl_urls]
        point = x509.DistributionPoint(full_name=places, relative_name=None, reasons=None, crl_issuer=None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return builder


def _key_usage(names: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


def _sign_again(tbs: asn1_x509.TbsCertificate, issuer_key: PrivateKey, md5: bool = False, sha1: bool = False) -> x509.Certificate:
    """A certificate that a decent library refuses to build: ``tbs`` with a new signature by ``issuer_key`` (RSA for MD5, SHA-1)."""
    digest: hashes.HashAlgorithm = hashes.MD5() if md5 else hashes.SHA1() if sha1 else hashes.SHA256()  # noqa: S303 - the defect
    if isinstance(issuer_key, rsa.RSAPrivateKey):
        algorithm = {"algorithm": f"{digest.name}_rsa", "parameters": asn1_core.Null()}
        tbs["signature"] = asn1_algos.SignedDigestAlgorithm(algorithm)
        signature = issuer_key.sign(tbs.dump(force=True), padding.PKCS1v15(), digest)
    else:
        tbs["signature"] = asn1_algos.SignedDigestAlgorithm({"algorithm": f"{digest.name}_ecdsa"})
        signature = issuer_key.sign(tbs.dump(force=True), ec.ECDSA(digest))
    whole = asn1_x509.Certificate(
        {"tbs_certificate": tbs, "signature_algorithm": tbs["signature"], "signature_value": asn1_core.OctetBitString(signature)}
    )
    return x509.load_der_x509_certificate(whole.dump())


def expired(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its validity ended a day before NOW."""
    return ca.signer(email, not_after=NOW - dt.timedelta(days=1))


def not_yet_valid(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its validity begins a day after NOW."""
    return ca.signer(email, not_before=NOW + dt.timedelta(days=1))


def short_rsa(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its RSA key has 1024 bits."""
    return ca.reader(email, kind="rsa1024")


def sha1_signed(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its issuer signed it over SHA-1. The issuer's key must be RSA."""
    good = ca.signer(email)
    return Issued(_sign_again(asn1_x509.Certificate.load(good.der)["tbs_certificate"], ca.key, sha1=True), good.key, good.above)


def md5_signed(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its issuer signed it over MD5. The issuer's key must be RSA."""
    good = ca.signer(email)
    return Issued(_sign_again(asn1_x509.Certificate.load(good.der)["tbs_certificate"], ca.key, md5=True), good.key, good.above)


def unnamed_curve(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its key is on P-256 spelt out as parameters, in place of the curve's name (what CVE-2020-0601 abused)."""
    good = ca.signer(email)
    tbs = asn1_x509.Certificate.load(good.der)["tbs_certificate"]
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    base = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    parameters = asn1_keys.SpecifiedECDomain(
        {
            "version": 1,
            "field_id": {"field_type": "prime_field", "parameters": prime},
            "curve": {
                "a": (prime - 3).to_bytes(32),
                "b": bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
            },
            "base": base,
            "order": order,
            "cofactor": 1,
        }
    )
    tbs["subject_public_key_info"]["algorithm"]["parameters"] = asn1_keys.ECDomainParameters("specified", parameters)
    whole = asn1_x509.Certificate(
        {
            "tbs_certificate": tbs,
            "signature_algorithm": tbs["signature"],
            "signature_value": asn1_core.OctetBitString(_signature(tbs.dump(force=True), ca.key)),
        }
    )
    return Issued(_Opaque(whole.dump()), good.key, good.above)  # type: ignore[arg-type]


def for_ecdh_alone(ca: Ca, kind: str = "p256", email: str = "results@laboratory.example", name: str = "1.3.132.1.12") -> Issued:
    """Its key, on a curve, is named as one for ECDH alone (RFC 5480 2.1.2), or whatever else ``name`` means."""
    good = ca.reader(email, kind)
    tbs = asn1_x509.Certificate.load(good.der)["tbs_certificate"]
    tbs["subject_public_key_info"]["algorithm"]["algorithm"] = name
    return Issued(_sign_again(tbs, ca.key), good.key, good.above)


class _Opaque:
    """A certificate the library may refuse to load: only its bytes."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def public_bytes(self, _: serialization.Encoding) -> bytes:
        return self._der


def _signature(data: bytes, key: PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def tampered(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its serial number was changed after its issuer signed it."""
    good = ca.signer(email)
    whole = asn1_x509.Certificate.load(good.der)
    whole["tbs_certificate"]["serial_number"] = good.certificate.serial_number ^ 1
    return Issued(x509.load_der_x509_certificate(whole.dump(force=True)), good.key, good.above)


def self_signed(email: str = "results@laboratory.example") -> Issued:
    """Nobody but itself vouches for it."""
    key, name = new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, email)])
    builder = _begin(name, name, key, BEGIN, END)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), critical=False)
    builder = builder.add_extension(_key_usage(["digital_signature"]), critical=True)
    return Issued(builder.sign(key, hashes.SHA256()), key, ())


def issued_by_a_leaf(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its issuer is an end-entity certificate, which may not issue."""
    middle = ca.signer("cardiology@hospital.example")
    return Ca(middle.certificate, middle.issuing, middle.above).signer(email, crl_urls=())


def below_path_length(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Two authorities stand above it where the first allowed none below itself."""
    return ca.intermediate("CN=Last", path_length=0).intermediate("CN=One Too Many").signer(email)


def outside_name_constraints(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its issuer may only name addresses of hospital.example."""
    return ca.intermediate("CN=Hospital Only", permitted_domains=["hospital.example"]).signer(email)


def critical_unknown(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """It carries a critical extension that nobody knows."""
    return ca.signer(email, critical="1.3.6.1.4.1.99999.1")


def not_for_mail(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its extended key usage is code signing."""
    return ca.signer(email, eku=["code"])


def not_for_clients(ca: Ca, name: str = "gateway.laboratory.example") -> Issued:
    """Its extended key usage is TLS servers alone, as public authorities issue it."""
    return ca.gateway(name, eku=["server"])


def not_for_servers(ca: Ca, name: str = "gateway.laboratory.example") -> Issued:
    """Its extended key usage is TLS clients alone."""
    return ca.gateway(name, eku=["client"])


def not_for_signing(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its key usage allows encryption and no signature."""
    return ca.reader(email)


def not_for_encryption(ca: Ca, email: str = "results@laboratory.example") -> Issued:
    """Its key usage allows signatures and no encryption."""
    return ca.signer(email, kind="rsa2048")


def common_name_only(ca: Ca, name: str = "gateway.laboratory.example") -> Issued:
    """Its DNS name stands in the common name alone."""
    return ca.gateway(name, dns=[])


def foreign(email: str = "results@laboratory.example") -> Issued:
    """It is good, below a root nobody here trusts that bears the same name as ours."""
    return Ca.root().signer(email)
