"""Forms of OCSP answers that no library of ours makes: signed with RSASSA-PSS, with extensions about a single certificate."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import ocsp as asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp

from gateway.trust.certificate import facts
from gateway.trust.ocsp import OcspAnswer, OcspError
from gateway.trust.revocation import status
from gateway.trust.sources import AtHand
from gateway.trust.standing import Good, Hearing, Revoked, Standing, Status, Unknown
from tests.pki import NOW, Ca, Issued, microseconds

AT = microseconds(NOW)
CA = Ca.root(kind="rsa2048")
LEAF = CA.signer("results@laboratory.example")
NOBODY_KNOWS = "1.3.6.1.4.1.99999.1"


def said(answer: bytes, leaf: Issued = LEAF, at: int = AT) -> Status:
    """What one answer says about ``leaf``."""
    standing = Standing(leaf.der, facts(leaf.der), CA.der)
    return status(standing, Hearing(lambda _: iter([CA.der]), AtHand(given=(OcspAnswer(answer),)), at))


def signed_again(answer: bytes, scheme: dict[str, Any], padded: padding.PSS | None = None, digest: str = "sha256") -> bytes:
    """``answer``, or what a test made of it, with a new signature by the authority, which calls it ``scheme``."""
    whole = asn1.OCSPResponse.load(answer)
    basic = whole["response_bytes"]["response"].parsed
    basic["signature_algorithm"] = scheme
    algorithm = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha512": hashes.SHA512()}[digest]  # noqa: S303 - the defect
    assert isinstance(CA.key, rsa.RSAPrivateKey)
    basic["signature"] = CA.key.sign(basic["tbs_response_data"].dump(), padded or padding.PKCS1v15(), algorithm)
    whole["response_bytes"]["response"] = basic
    made: bytes = whole.dump(force=True)
    return made


def pss(digest: str = "sha256", mask: str | None = None, salt: int = 32, trailer: int = 1) -> dict[str, Any]:
    """The AlgorithmIdentifier of RFC 4055 3.1."""
    return {
        "algorithm": "rsassa_pss",
        "parameters": {
            "hash_algorithm": {"algorithm": digest},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": mask or digest}},
            "salt_length": salt,
            "trailer_field": trailer,
        },
    }


def padded(digest: hashes.HashAlgorithm, salt: int) -> padding.PSS:
    return padding.PSS(padding.MGF1(digest), salt)


@pytest.mark.parametrize("word", [ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED])
def test_pss(word: ocsp.OCSPCertStatus) -> None:
    """Signed with RSASSA-PSS, as the authority's certificates may be: it says what it says."""
    answer = signed_again(CA.ocsp(LEAF, word), pss(), padded(hashes.SHA256(), 32))
    assert isinstance(said(answer), Good if word is ocsp.OCSPCertStatus.GOOD else Revoked)


def test_pss_with_other_numbers() -> None:
    """SHA-512 and its salt; and a salt and a mask of another digest, which RFC 4055 allows."""
    assert said(signed_again(CA.ocsp(LEAF), pss("sha512", salt=64), padded(hashes.SHA512(), 64), "sha512")) == Good()
    assert said(signed_again(CA.ocsp(LEAF), pss(mask="sha512", salt=20), padded(hashes.SHA512(), 20))) == Good()


@pytest.mark.parametrize(
    ("scheme", "made"),
    [
        (pss(salt=20), padded(hashes.SHA256(), 32)),
        (pss("sha512"), padded(hashes.SHA256(), 32)),
        (pss(mask="sha512"), padded(hashes.SHA256(), 32)),
        (pss(), None),
        ({"algorithm": "sha256_rsa", "parameters": None}, padded(hashes.SHA256(), 32)),
    ],
)
def test_signed_in_another_way_than_it_says(scheme: dict[str, Any], made: padding.PSS | None) -> None:
    """Salt, digest, mask or padding are others than the answer claims: nobody made it."""
    assert isinstance(said(signed_again(CA.ocsp(LEAF), scheme, made)), Unknown)


def test_pss_with_sha1() -> None:
    """What PSS stands for where nothing is said: SHA-1, which proves nothing today."""
    answer = signed_again(CA.ocsp(LEAF), pss("sha1", salt=20), padded(hashes.SHA1(), 20), "sha1")  # noqa: S303 - the defect
    assert isinstance(said(answer), Unknown)


def test_pss_with_another_trailer() -> None:
    """RFC 4055 3.1 knows one."""
    with pytest.raises(OcspError):
        OcspAnswer(signed_again(CA.ocsp(LEAF), pss(trailer=2), padded(hashes.SHA256(), 32)))


def test_pss_by_openssl(tmp_path: Path) -> None:
    """``openssl ocsp`` makes the answer, now."""
    for name, content in (("ca.pem", CA.pem), ("ca.key", Issued(CA.certificate, CA.key, ()).key_pem), ("leaf.pem", LEAF.pem)):
        (tmp_path / name).write_bytes(content)
    serial = f"{LEAF.certificate.serial_number:X}"
    line = f"V\t351231235959Z\t\t{serial.zfill(len(serial) + len(serial) % 2)}\tunknown\t/CN=leaf\n"
    (tmp_path / "index.txt").write_text(line)
    asking = ["-issuer", "ca.pem", "-cert", "leaf.pem", "-no_nonce", "-reqout", "request.der"]
    answering = ["-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-reqin", "request.der"]
    answering += ["-ndays", "1", "-rmd", "sha256", "-rsigopt", "rsa_padding_mode:pss", "-respout", "answer.der"]
    for command in (asking, answering):
        subprocess.run(["openssl", "ocsp", *command], cwd=tmp_path, check=True, capture_output=True, timeout=20)
    answer = (tmp_path / "answer.der").read_bytes()
    assert ocsp.load_der_ocsp_response(answer).signature_algorithm_oid.dotted_string == "1.2.840.113549.1.1.10"
    assert said(answer, at=OcspAnswer(answer).this_update) == Good()


def with_extension(answer: bytes, oid: str, *, critical: bool, place: int = 0) -> bytes:
    """The single response at ``place`` carries one more extension."""
    whole = asn1.OCSPResponse.load(answer)
    basic = whole["response_bytes"]["response"].parsed
    single = basic["tbs_response_data"]["responses"][place]
    single["single_extensions"] = [{"extn_id": oid, "critical": critical, "extn_value": b"\x05\x00"}]
    whole["response_bytes"]["response"] = basic
    return signed_again(whole.dump(force=True), {"algorithm": "sha256_rsa", "parameters": None})


def test_an_extension_nobody_knows() -> None:
    """It is passed over where it is not critical (RFC 6960 4.4)."""
    assert said(with_extension(CA.ocsp(LEAF), NOBODY_KNOWS, critical=False)) == Good()


def test_a_critical_extension_nobody_knows() -> None:
    """What is said under it is not heard: an answer that says nothing else is none."""
    with pytest.raises(OcspError, match="nothing about any certificate"):
        OcspAnswer(with_extension(CA.ocsp(LEAF), NOBODY_KNOWS, critical=True))


@pytest.mark.parametrize("place", [0, 1])
def test_a_critical_extension_of_another_certificate(place: int) -> None:
    """In an answer about two, it takes one word away, and leaves the other."""
    other = CA.signer("other@laboratory.example")
    whole = asn1.OCSPResponse.load(CA.ocsp(LEAF))
    basic = whole["response_bytes"]["response"].parsed
    second = asn1.OCSPResponse.load(CA.ocsp(other))["response_bytes"]["response"].parsed["tbs_response_data"]["responses"][0]
    basic["tbs_response_data"]["responses"].append(second)
    whole["response_bytes"]["response"] = basic
    answer = with_extension(whole.dump(force=True), NOBODY_KNOWS, critical=True, place=place)
    silenced, heard = (LEAF, other) if place == 0 else (other, LEAF)
    assert isinstance(said(answer, silenced), Unknown)
    assert said(answer, heard) == Good()
