"""Which peer a certificate is: exact DNS names, whole subjects, never a common name."""

from __future__ import annotations

import pytest

from gateway.outcome import Reason
from gateway.trust.judgement import Distrusted
from gateway.trust.name import normal_dn
from gateway.trust.zone import Peer, Peers, match_peer
from tests.pki import Ca, common_name_only

CA = Ca.root()
PEERS = Peers(
    [
        Peer("hospital", ("gateway.hospital.example",)),
        Peer("laboratory", dn="CN=Laboratory Gateway,OU=Mail,O=Laboratory,C=FR"),
        Peer("clinic", ("gateway.clinic.example",), "CN=Clinic Gateway,O=Clinic,C=FR"),
    ]
)


def _match(subject: str, dns: list[str]) -> str | Reason:
    answer = match_peer(PEERS, CA.gateway("unused.example", subject=subject, dns=dns).der)
    return answer.reason if isinstance(answer, Distrusted) else answer


@pytest.mark.parametrize(
    ("subject", "dns", "expected"),
    [
        ("CN=Anything", ["gateway.hospital.example"], "hospital"),
        ("CN=Anything", ["other.example", "GATEWAY.hospital.example"], "hospital"),
        ("CN=Laboratory Gateway,OU=Mail,O=Laboratory,C=FR", [], "laboratory"),
        ("CN=laboratory\u00a0 GATEWAY,OU=Mail,O=Laboratory\\ ,C=FR", [], "laboratory"),
        ("CN=Clinic Gateway,O=Clinic,C=FR", ["gateway.clinic.example"], "clinic"),
        ("CN=Nobody", ["gateway.elsewhere.example"], Reason.PEER_UNKNOWN),
        ("CN=Nobody", ["*.hospital.example"], Reason.PEER_UNKNOWN),
        ("CN=Nobody", ["evil.gateway.hospital.example"], Reason.PEER_UNKNOWN),
        ("CN=gateway.hospital.example", [], Reason.CN_ONLY_MATCH),
        ("CN=Laboratory Gateway,O=Elsewhere,C=FR", [], Reason.CN_ONLY_MATCH),
        ("CN=Laboratory Gateway,O=Laboratory,OU=Mail,C=FR", [], Reason.CN_ONLY_MATCH),
        ("CN=Other Gateway,O=Clinic,C=FR", ["gateway.clinic.example"], Reason.DN_NOT_LISTED),
        ("CN=Clinic Gateway,O=Clinic,C=FR", ["gateway.elsewhere.example"], Reason.PEER_UNKNOWN),
    ],
)
def test_match(subject: str, dns: list[str], expected: str | Reason) -> None:
    assert _match(subject, dns) == expected


def test_common_name_only() -> None:
    """A DNS name in the common name alone is said to be that, so that the administrator knows what to list."""
    answer = match_peer(PEERS, common_name_only(CA, "gateway.hospital.example").der)
    assert isinstance(answer, Distrusted)
    assert answer.reason is Reason.CN_ONLY_MATCH


def test_no_peers() -> None:
    """An empty zone knows nobody."""
    answer = match_peer(Peers(()), CA.gateway("gateway.hospital.example").der)
    assert isinstance(answer, Distrusted)
    assert answer.reason is Reason.PEER_UNKNOWN


@pytest.mark.parametrize("other", ["CN=a b,C=FR", "cn=A  B,c=fr", "CN = a\u00a0b , C=FR", "CN=a\u3000b,C=FR", "CN=a\u00adb,C=FR"])
def test_names_compare_as_directories_do(other: str) -> None:
    """Case, width, kinds and number of spaces do not matter; an invisible hyphen joins (RFC 4518 2.2, 2.6.1)."""
    assert (normal_dn(other) == normal_dn("CN=A B,C=FR")) is ("\u00ad" not in other)


def test_order_matters() -> None:
    """A subject is a sequence."""
    assert normal_dn("CN=a,O=b,C=FR") != normal_dn("O=b,CN=a,C=FR")


@pytest.mark.parametrize("text", ["", "nothing", "CN", "XX=1", "CN=" + "x" * 5000])
def test_no_name(text: str) -> None:
    """What is no name is a ValueError, for the configuration to report."""
    with pytest.raises(ValueError, match="name"):
        normal_dn(text)
