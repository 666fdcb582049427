"""x509-limbo: paths with one thing wrong, and some with nothing wrong that look as if. They are asked about as peers of a zone."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.outcome import GatewayError
from gateway.trust.anchors import Anchors
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Judgement, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import MAX_DEPTH, Rules
from gateway.trust.sources import AtHand
from tests.conformance.material import MATERIAL, needs
from tests.pki import microseconds

SET: Final = "x509/x509-limbo"
NOW: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

_CLOCKS = "clocks may differ by five minutes"
_DUTY = "a duty of whoever issues; that it was neglected makes nobody else believable, and such certificates are about"
_NAME = "a name that is no host and no address binds nothing, and denies nothing"
_ANCHOR = "an anchor is taken as it was configured"
_STRICTER_CA = "an authority's own certificate is no peer"
# Where our verdict is not theirs. The first half is what we believe and they would not.
DEVIATIONS: Final[dict[str, str]] = {
    "crl::crlnumber-missing": _DUTY,
    "rfc5280::aki::leaf-missing-aki": _DUTY,
    "rfc5280::aki::intermediate-missing-aki": _DUTY,
    "rfc5280::aki::cross-signed-root-missing-aki": _ANCHOR,
    "rfc5280::nc::permitted-dns-match-noncritical": _DUTY,
    "rfc5280::nc::not-allowed-in-ee-noncritical": "nothing is below it that it could constrain",
    "rfc5280::nc::not-allowed-in-ee-critical": "nothing is below it that it could constrain",
    "rfc5280::nc::nc-permits-invalid-dns-san": _NAME,
    "rfc5280::nc::nc-permits-invalid-email-san": _NAME,
    "rfc5280::pc::ica-noncritical-pc": _DUTY,
    "rfc5280::san::noncritical-with-empty-subject": _DUTY,
    "rfc5280::san::underscore-dns": "a name of a zone's peer is compared whole with the one configured",
    "rfc5280::san::ip-in-dns": "a name of a zone's peer is compared whole with the one configured",
    "rfc5280::serial::zero": "PKITS 4.4.14 wants serial numbers below one handled",
    "rfc5280::ski::root-missing-ski": _ANCHOR,
    "rfc5280::ski::intermediate-missing-ski": _DUTY,
    "rfc5280::root-non-critical-basic-constraints": _ANCHOR,
    "rfc5280::leaf-ku-keycertsign": "it is no authority, and issues nothing that would be believed",
    "rfc5280::validity::notbefore-fractional": _CLOCKS,
    "rfc5280::validity::expired-1-second": _CLOCKS,
    "rfc5280::validity::expired-5-seconds": _CLOCKS,
    "rfc5280::validity::not-yet-valid-1-second": _CLOCKS,
    "rfc5280::validity::not-yet-valid-5-seconds": _CLOCKS,
    # What they believe and we would not.
    "pathlen::validation-ignores-pathlen-in-leaf": _STRICTER_CA,
    "rfc5280::ca-as-leaf": _STRICTER_CA,
    "pathlen::max-chain-depth-1-self-issued": "the length of a path counts self-issued certificates too",
    "rfc5280::nc::permitted-ipv4-match": "pyhanko-certvalidator does not compare addresses: what is constrained in them is refused",
    "rfc5280::nc::permitted-ipv6-match": "pyhanko-certvalidator does not compare addresses: what is constrained in them is refused",
    "rfc5280::nc::nc-forbids-othername-noop": "pyhanko-certvalidator does not know constraints on otherName: refused",
}


def cases() -> list[dict[str, Any]]:
    """All but those about the Web PKI's own rules."""
    path = MATERIAL / SET / "limbo.json"
    found = json.loads(path.read_text())["testcases"] if path.is_file() else []
    return [case for case in found if not case["id"].startswith("webpki::")]


def der(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


def verdict(case: dict[str, Any]) -> Judgement:
    at = dt.datetime.fromisoformat(case["validation_time"]) if case["validation_time"] else NOW
    depth = MAX_DEPTH if case["max_chain_depth"] is None else case["max_chain_depth"] + 1
    try:
        anchors = Anchors(map(der, case["trusted_certs"]))
        crls = tuple(Crl(x509.load_pem_x509_crl(pem.encode()).public_bytes(Encoding.DER)) for pem in case["crls"])
    except GatewayError as error:
        return Distrusted(error.reason, error.detail)
    revocation = Revocation.HARD if crls else Revocation.UNSAFE_OFF
    at_hand = AtHand(tuple(map(der, case["untrusted_intermediates"])), crls)
    purpose = Purpose.GATEWAY_CLIENT if case["validation_kind"] == "CLIENT" else Purpose.GATEWAY_SERVER
    rules = Rules(anchors, purpose, revocation, depth=depth)
    return judge(der(case["peer_certificate"]), at_hand, microseconds(at), rules)


def is_peer(case: dict[str, Any]) -> bool:
    """Whether the certificate is believed and has the name that is expected; whole names alone, as a zone lists its peers."""
    if not isinstance(verdict(case), Trusted):
        return False
    name = case["expected_peer_name"]
    named = name is None or name["kind"] != "DNS" or name["value"] in facts(der(case["peer_certificate"])).dns_names
    return named or case["id"].startswith("online::")


@needs(SET)
@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # serial::zero
@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_limbo(case: dict[str, Any]) -> None:
    """Ours is the suite's verdict, but for the deviations, each of which is still one."""
    assert (is_peer(case) is (case["expected_result"] == "SUCCESS")) is (case["id"] not in DEVIATIONS)
