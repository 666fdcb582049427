"""Marks say what the verdict says, and nothing a signer writes can add to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.message import read_header
from gateway.mail.verdict import Judged, LayerVerdict, SignerVerdict, Verdict, marks, result_of, without_marks
from gateway.outcome import Reason


@pytest.mark.parametrize(
    ("judged", "reasons", "result"),
    [
        (Judged.VERIFIED, (), "pass"),
        (Judged.SIGNED_UNVERIFIED, (Reason.BAD_DIGEST,), "fail"),
        (Judged.SIGNED_UNVERIFIED, (Reason.CHAIN,), "policy"),
        (Judged.UNSIGNED, (), "none"),
        (Judged.MIXED, (Reason.PARTIAL_COVERAGE,), "neutral"),
        (Judged.UNDECRYPTABLE, (Reason.NO_KEY,), "neutral"),
    ],
)
def test_results_are_those_of_rfc_7281(judged: Judged, reasons: tuple[Reason, ...], result: str) -> None:
    assert result_of(Verdict(judged, (), False, reasons)) == result


@given(subject=st.text(max_size=400), issuer=st.text(max_size=400), address=st.text(min_size=1, max_size=80))
def test_no_name_breaks_out_of_its_mark(subject: str, issuer: str, address: str) -> None:
    """Names in certificates are chosen by others: no line ends, no second property, nothing but ASCII."""
    signer = SignerVerdict(subject, (address,), "bad", "unknown", (Reason.BAD_SIGNATURE,), issuer, "1F", (address,))
    verdict = Verdict(
        Judged.SIGNED_UNVERIFIED, (), True, (Reason.BAD_SIGNATURE,), (LayerVerdict("signed", "whole", signers=(signer,)),)
    )
    written = marks(verdict, "gateway.hospital.example")
    header = read_header(written + b"\r\n")
    assert written.isascii()
    assert [field.name for field in header.fields] == ["Authentication-Results", "X-Gateway-Security"]
    assert header.fields[1].value.startswith(b"verdict=signed-unverified;\tencrypted=yes;\tsigner=")
    assert all(len(line) <= 998 for line in written.split(b"\r\n"))


def test_our_own_marks_are_taken_out() -> None:
    header = read_header(marks(Verdict(Judged.UNSIGNED, (), False), "gateway.hospital.example") + b"\r\n")
    assert list(without_marks(header.fields, "gateway.hospital.example")) == []


def test_the_object_has_the_keys_that_programs_rely_on() -> None:
    signer = SignerVerdict("CN=a", ("a@b.example",), "good", "trusted")
    layers = (LayerVerdict("signed", "whole", {"signature": "ecdsa-sha256"}, (), (signer,)),)
    found = Verdict(Judged.VERIFIED, ("a@b.example",), False, (), layers, "zone", signer).to_json()
    assert found == {
        "verdict": "verified",
        "from": ["a@b.example"],
        "encrypted": False,
        "assurance": "zone",
        "reasons": [],
        "layers": [
            {
                "kind": "signed",
                "where": "whole",
                "algorithms": {"signature": "ecdsa-sha256"},
                "recipients": [],
                "signers": [
                    {"subject": "CN=a", "addresses": ["a@b.example"], "signature": "good", "trust": "trusted", "reasons": []}
                ],
            }
        ],
    }
