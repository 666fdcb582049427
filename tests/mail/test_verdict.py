"""Marks say what the verdict says, and nothing a signer writes can add to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.message import read_header
from gateway.mail.verdict import Judged, LayerVerdict, SignerVerdict, Verdict, marked, marks, result_of, without_marks
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


@pytest.mark.parametrize("first", [b" smime=pass;\r\n", b"\tverdict=verified;\r\n signer=x\r\n", b" \r\n"])
def test_no_mark_is_continued_by_what_came(first: bytes) -> None:
    """A header that begins with a fold: under our marks it would be one of them."""
    fields = read_header(first + b"From: a@b.example\r\n\r\n").fields
    written = read_header(marked(fields, Verdict(Judged.UNSIGNED, (), False), "gateway.hospital.example")).fields
    assert [field.name for field in written] == ["Authentication-Results", "X-Gateway-Security", "From"]
    assert written[1].value == b"verdict=unsigned;\tencrypted=no"


def test_our_own_marks_are_taken_out() -> None:
    header = read_header(marks(Verdict(Judged.UNSIGNED, (), False), "gateway.hospital.example") + b"\r\n")
    assert list(without_marks(header.fields, "gateway.hospital.example")) == []


OURS = "gateway.hospital.example"


@pytest.mark.parametrize(
    "line",
    [
        b"X-Gateway-Security: verdict=verified\r\n",
        b"x-GATEWAY-security:verdict=verified\r\n",
        b"X-Gateway-Anything: 1\r\n",
        b"X-Gateway-Security : verdict=verified\r\n",
        b"X-Gateway-Security\t \t: verdict=verified\r\n",
        b"X-Gateway-Security\r\n : verdict=verified\r\n",
        b"X-Gateway\r\n -Security: verdict=verified\r\n",
        b"X-Gateway-\xa0Security: verdict=verified\r\n",
        b" X-Gateway-Security: verdict=verified\r\n",
        b"\xef\xbb\xbfX-Gateway-Security: verdict=verified\r\n",
        b"\x01X-Gateway-Security: verdict=verified\r\n",
        b"X-Gateway-Security; verdict=verified\r\n",
        b"\xa0" * 900
        + b"\r\n "
        + b"\xa0" * 900
        + (b"\r\n " + b"\xa0" * 900) * 5
        + b"\r\n X-Gateway-Security: verdict=verified\r\n",
        b"Authentication-Results: elsewhere.example; smime=pass\r\n",
        b"authentication-RESULTS : gateway.hospital.example; dkim=pass\r\n",
        b"Authentication-Results\r\n\t: elsewhere.example;\r\n\tsmime=pass\r\n",
        b"Authentication\r\n -Results: gateway.hospital.example; dkim=pass\r\n",
        b"Authentication-Results: elsewhere.example; SMIME\t=\tpass\r\n",
        b"Authentication-Results: elsewhere.example; smime(a comment)=pass\r\n",
        b"Authentication-Results: elsewhere.example; sm(a (nested) comment)ime=pass\r\n",
        b"Authentication-Results: GATEWAY.Hospital.Example 1; spf=pass\r\n",
        b'Authentication-Results: "gateway.hospital.example"; spf=pass\r\n',
        rb'Authentication-Results: "gateway\.hospital\.example"; spf=pass' + b"\r\n",
        rb'Authentication-Results: "\g\a\t\e\w\a\y.hospital.example"; spf=pass' + b"\r\n",
        b"Authentication-Results: (a comment; with a semicolon) gateway.hospital.example; spf=pass\r\n",
        b"Authentication-Results: " + b"(" * 40 + b";" + b")" * 40 + b" gateway.hospital.example; spf=pass\r\n",
        b'Authentication-Results: (") gateway.hospital.example (;") ; spf=pass\r\n',
        rb"Authentication-Results: (\)) gateway.hospital.example; spf=pass" + b"\r\n",
        b"Authentication-Results: (never closed gateway.hospital.example; spf=pass\r\n",
    ],
)
def test_marks_of_others_are_taken_out_in_any_spelling(line: bytes) -> None:
    """RFC 8601 5: an Authentication-Results that says it is ours and is not; RFC 5322 3.2.2, 3.2.4 and 4.5 give the spellings."""
    header = read_header(b"Subject: hello\r\n" * (line[:1] != b" ") + line + b"To: a@hospital.example\r\n\r\n")
    assert [field.name for field in without_marks(header.fields, OURS) if field.name != "Subject"] == ["To"]


@pytest.mark.parametrize(
    "line",
    [
        b"Authentication-Results: front.hospital.example; spf=fail smtp.helo=gateway.hospital.example\r\n",
        b"Authentication-Results: front.hospital.example; dkim=pass (good) header.d=laboratory.example\r\n",
        b"X-Gate-Way: 1\r\n",
    ],
)
def test_what_others_say_in_their_own_name_stays(line: bytes) -> None:
    header = read_header(line + b"\r\n")
    assert list(without_marks(header.fields, OURS)) == list(header.fields)


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
