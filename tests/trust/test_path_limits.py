"""Limits of the search for a path, and of a CRL, at their edge. What lies beyond them is left out: the path is not found."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.chain import MAX_OTHERS, MAX_PATHS, MAX_VISITS
from gateway.trust.crl import MAX_CRL, Crl, CrlError
from gateway.trust.judgement import Distrusted, Purpose, Revocation, Trusted
from gateway.trust.moment import TOLERANCE
from gateway.trust.path import judge
from gateway.trust.rules import MAX_DEPTH, Rules
from gateway.trust.sources import AtHand
from tests.pki import BEGIN, END, NOW, Ca, Issued, microseconds

ROOT = Ca.root()
ISSUING = ROOT.intermediate()
LEAF = ISSUING.signer("results@laboratory.example")
RSA = Ca.root(kind="rsa2048")  # whose signatures have one length
EXPIRED = NOW.replace(year=NOW.year - 1)


def reason(leaf: Issued, others: Sequence[bytes], *listed: bytes, at: int = microseconds(NOW)) -> Reason | None:
    """Why ``leaf`` is not believed, with a fresh memory; None where it is. ``listed`` are beside the root in its list."""
    anchors = Anchors([ROOT.der, *listed])
    answer = judge(leaf.der, AtHand(tuple(others)), at, Rules(anchors, Purpose.SMIME_SIGNER, Revocation.UNSAFE_OFF))
    assert isinstance(answer, Trusted | Distrusted)
    return answer.reason if isinstance(answer, Distrusted) else None


def below(count: int) -> Issued:
    """A signer below so many authorities, which lie below the root."""
    authority = ROOT
    for number in range(count):
        authority = authority.intermediate(f"CN=Authority {number}")
    return authority.signer("results@laboratory.example")


def test_the_length_of_a_path() -> None:
    """The anchor above it not counted."""
    longest, longer = below(MAX_DEPTH - 1), below(MAX_DEPTH)
    assert reason(longest, longest.intermediates) is None
    assert reason(longer, longer.intermediates) is Reason.CHAIN


def test_certificates_that_came_along() -> None:
    """All of them count, also those that are none."""
    assert reason(LEAF, [b"none"] * (MAX_OTHERS - 1) + [ISSUING.der]) is None
    assert reason(LEAF, [b"none"] * MAX_OTHERS + [ISSUING.der]) is Reason.CHAIN


def test_certificates_that_are_tried() -> None:
    """Others of the same name, by their key identifier not the issuer. What stands in the list is tried behind them."""
    namesakes = [ROOT.intermediate().der for _ in range(MAX_VISITS)]
    assert reason(LEAF, namesakes[1:], ISSUING.der) is None
    assert reason(LEAF, namesakes, ISSUING.der) is Reason.CHAIN


def renewed(authority: Ca, number: int) -> bytes:
    """The same name and key in a certificate that has expired."""
    old = authority.certificate
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), number + 1, BEGIN, EXPIRED)
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(ROOT.key, SHA256()).public_bytes(Encoding.DER)


def test_paths_that_are_tried_to_the_end() -> None:
    older = [renewed(ISSUING, number) for number in range(MAX_PATHS)]
    assert reason(LEAF, [*older[1:], ISSUING.der]) is None
    assert reason(LEAF, [*older, ISSUING.der]) is Reason.EXPIRED


def test_the_size_of_a_crl() -> None:
    """Most of it an extension that nobody has to understand."""

    def sized(size: int) -> bytes:
        made, filled = b"", size - 300
        while len(made) != size:
            filled += size - len(made) if made else 0
            filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(filled))
            builder = x509.CertificateRevocationListBuilder(ROOT.certificate.subject, NOW, NOW.replace(year=NOW.year + 1))
            made = builder.add_extension(filler, critical=False).sign(RSA.key, SHA256()).public_bytes(Encoding.DER)
        return made

    assert Crl(sized(MAX_CRL)).issuer
    with pytest.raises(CrlError, match=f"a CRL of {MAX_CRL + 1} bytes"):
        Crl(sized(MAX_CRL + 1))


@pytest.mark.parametrize(
    ("edge", "beyond", "wanted"),
    [(microseconds(BEGIN) - TOLERANCE, -1, Reason.NOT_YET_VALID), (microseconds(END) + TOLERANCE, 1, Reason.EXPIRED)],
)
def test_how_far_two_clocks_may_differ(edge: int, beyond: int, wanted: Reason) -> None:
    assert reason(LEAF, [ISSUING.der], at=edge) is None
    assert reason(LEAF, [ISSUING.der], at=edge + beyond) is wanted


def test_how_far_ahead_a_crl_may_begin() -> None:
    """Its end is as it says: another is due."""
    crl = Crl(ROOT.crl())
    assert crl.next_update is not None
    assert crl.current(crl.this_update - TOLERANCE)
    assert not crl.current(crl.this_update - TOLERANCE - 1)
    assert crl.current(crl.next_update)
    assert not crl.current(crl.next_update + 1)
