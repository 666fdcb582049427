"""OpenSSL's OCSP answers (test/ocsp-tests): real ones of 2012, made by authorities and by responders, and each with one defect.

The verdicts are those of OpenSSL's test/recipes/80-test_ocsp.t, the file names its legend.
"""

from __future__ import annotations

import base64
import datetime as dt
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.outcome import GatewayError
from gateway.trust.certificate import facts
from gateway.trust.ocsp import OcspAnswer
from gateway.trust.revocation import status
from gateway.trust.sources import AtHand
from gateway.trust.standing import Good, Hearing, Standing
from tests.conformance.material import MATERIAL, needs
from tests.pki import microseconds

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")  # CAcert's root has number 0

SET: Final = "x509/openssl/ocsp-tests"
HERE: Final = MATERIAL / SET
# The answers were made on these days, and lasted for some; all are signed over SHA-1, which counts no more today.
MADE: Final = {
    "D1": dt.datetime(2012, 10, 24, tzinfo=dt.UTC),
    "D2": dt.datetime(2012, 10, 24, tzinfo=dt.UTC),
    "D3": dt.datetime(2012, 10, 24, tzinfo=dt.UTC),
    "ND1": dt.datetime(2012, 10, 12, tzinfo=dt.UTC),
    "ND2": dt.datetime(2012, 10, 12, tzinfo=dt.UTC),
    "ND3": dt.datetime(2012, 10, 12, tzinfo=dt.UTC),
}
# Where we differ: nobody says that this responder is not revoked, neither id-pkix-ocsp-nocheck nor a CRL.
WITHOUT_WORD: Final = frozenset({"D3"})
# What is wrong with the answer (first) or the issuer (second): signature, ResponderID, name hash, key hash, the key or the
# signature of the responder's certificate; subject name, key of the issuer.
ANSWERS: Final = ("ISOP", "WRID", "WINH", "WIKH", "WKDOSC", "ISDOSC")
ISSUERS: Final = ("WSNIC", "WKIC")


def certificate(pattern: str) -> bytes:
    return x509.load_pem_x509_certificate(next(HERE.glob(pattern)).read_bytes()).public_bytes(Encoding.DER)


def answered(name: str, answer: str, issuer: bytes, at: dt.datetime | None = None) -> object:
    """What is known about the certificate of ``name`` from this answer alone, had its issuer been this."""
    der = certificate(f"{name}_Cert_*.pem")
    try:
        given = OcspAnswer(base64.b64decode((HERE / f"{answer}.ors").read_bytes()))
    except GatewayError as error:
        return error
    standing = Standing(der, facts(der), issuer)
    return status(standing, Hearing(lambda _: iter(()), AtHand(given=(given,)), microseconds(at or MADE[name])))


@needs(SET)
@pytest.mark.parametrize("name", MADE)
def test_good(name: str) -> None:
    """An answer of its time says good; the same answer proves nothing today."""
    issuer = certificate(f"{name}_Issuer_*[!s].pem")
    assert isinstance(answered(name, name, issuer), Good) is (name not in WITHOUT_WORD)
    assert not isinstance(answered(name, name, issuer, dt.datetime(2026, 3, 1, tzinfo=dt.UTC)), Good)


def broken() -> list[tuple[str, str]]:
    return [(name, defect) for name in MADE for defect in ANSWERS if not defect.endswith("DOSC") or name.startswith("D")]


@needs(SET)
@pytest.mark.parametrize(("name", "defect"), broken())
def test_broken_answer(name: str, defect: str) -> None:
    """An answer with a defect says nothing."""
    assert (HERE / f"{defect}_{name}.ors").is_file()
    assert not isinstance(answered(name, f"{defect}_{name}", certificate(f"{name}_Issuer_*[!s].pem")), Good)


@needs(SET)
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("defect", ISSUERS)
def test_wrong_issuer(name: str, defect: str) -> None:
    """An answer says nothing to whoever asks about another issuer."""
    assert not isinstance(answered(name, name, certificate(f"{defect}_{name}_Issuer_*.pem")), Good)


@needs(SET)
@pytest.mark.parametrize("name", MADE)
def test_issuer_is_taken_as_given(name: str) -> None:
    """Whether the issuer's own certificate is well signed is asked along the path, not of the answer."""
    assert isinstance(answered(name, name, certificate(f"ISIC_{name}_Issuer_*.pem")), Good) is (name not in WITHOUT_WORD)
