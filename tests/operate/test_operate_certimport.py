"""``cert import``: partners as they are handed over, by other programs' hand; each certificate told of, and nothing half done."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.database.thread import Database
from gateway.mail.address import parse_address
from gateway.operate import certimport, partners
from gateway.operate import ldif as ldif_module
from gateway.operate.certimport import Fate, sort_out
from gateway.operate.ldif import MAX_LINE, MAX_VALUES, read_ldif
from gateway.operate.partners import MAX_BUNDLE, MAX_FILE, MAX_FILES, MAX_OFFERED, Offered, PassedOver, read_partners
from gateway.outcome import Reason
from gateway.trust.certificate import facts
from gateway.trust.kept import KeptAs
from tests.operate.test_operate_cert import database, found, kept
from tests.pki import END, NOW, Ca, Issued, microseconds, to_pem
from tests.smime.openssl import openssl

__all__ = ["database"]

Run = Callable[..., Result]
Ask = Callable[..., tuple[int, Any]]

ROOT = Ca.root()
ISSUING = ROOT.intermediate()
PEOPLE = [f"{name}@laboratory.example" for name in ("results", "second", "third")]
ONE, TWO, THREE = (ISSUING.reader(email, "p256") for email in PEOPLE)


def outcomes(told: dict[str, Any]) -> list[tuple[str | None, str, str | None]]:
    return [(each["address"], each["outcome"], each["reason"]) for each in told["certificates"]]


def pkcs7(folder: Path, *certificates: bytes, form: str = "DER") -> bytes:
    """A certs-only message by openssl."""
    (folder / "all.pem").write_bytes(b"".join(map(to_pem, certificates)))
    return openssl("crl2pkcs7", "-nocrl", "-certfile", folder / "all.pem", "-outform", form)


# Forms


def test_a_folder_of_many_forms(tmp_path: Path, ask: Ask, database: Database) -> None:
    folder = tmp_path / "partners"
    folder.mkdir()
    (folder / "a.pem").write_bytes(ONE.pem + ISSUING.pem)
    (folder / "b.DER").write_bytes(TWO.der)
    (folder / "c.p7b").write_bytes(pkcs7(tmp_path, THREE.der, ROOT.der))
    (folder / ".hidden").write_bytes(b"x")
    status, told = ask("cert", "import", str(folder))
    assert status == 0
    assert (told["taken"], told["authority"], told["present"], told["passed_over"]) == (3, 2, 0, 0)
    assert [each["address"] for each in told["certificates"] if each["outcome"] == "taken"] == PEOPLE
    for email, issued in zip(PEOPLE, (ONE, TWO, THREE), strict=True):
        [one] = found(database, parse_address(email))
        assert (one.certificate, one.kept_as, one.above) == (issued.der, KeptAs.IMPORTED, (ISSUING.der,))


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_a_certs_only_message_of_openssl(tmp_path: Path, ask: Ask, database: Database, form: str) -> None:
    (tmp_path / "all.p7b").write_bytes(pkcs7(tmp_path, ONE.der, TWO.der, ISSUING.der, form=form))
    status, told = ask("cert", "import", str(tmp_path / "all.p7b"))
    assert (status, told["taken"]) == (0, 2)
    assert kept(database, PEOPLE[1]) == {TWO.der: KeptAs.IMPORTED}


def fold(line: str, width: int = 76) -> str:
    """A line of LDIF as `ldapsearch` breaks it."""
    first, rest = line[:width], line[width:]
    return "\n".join([first, *(" " + rest[at : at + width - 1] for at in range(0, len(rest), width - 1))])


def ldif(tmp_path: Path) -> str:
    encoded = {email: base64.b64encode(issued.der).decode() for email, issued in zip(PEOPLE, (ONE, TWO, THREE), strict=True)}
    bundle = base64.b64encode(pkcs7(tmp_path, TWO.der, ISSUING.der)).decode()
    mail = base64.b64encode(PEOPLE[0].encode()).decode()
    return (
        "version: 1\n# an export\n#  of a directory\n\n"
        + fold("dn: cn=Results," + "ou=a very long unit," * 10 + "o=Laboratory")
        + f"\nobjectClass: inetOrgPerson\nmail:: {mail}\n"
        + fold(f"userCertificate;binary:: {encoded[PEOPLE[0]]}")
        + f"\n\ndn: cn=Second,o=Laboratory\nMAIL: {PEOPLE[1]}\nmail: other@laboratory.example\n"
        + fold(f"userSMIMECertificate;binary:: {bundle}", 60)
        + "\n\ndn: cn=Third,o=Laboratory\nchangetype: add\nmail: boss@laboratory.example\n"
        + fold(f"usercertificate:: {encoded[PEOPLE[2]]}")
        + f"\n\ndn: cn=Elsewhere\nmail: {PEOPLE[0]}\nuserCertificate;binary:< file:///etc/passwd\n"
    )


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_export_of_a_directory(tmp_path: Path, ask: Ask, database: Database, line_end: str) -> None:
    (tmp_path / "all.ldif").write_bytes(ldif(tmp_path).replace("\n", line_end).encode())
    status, told = ask("cert", "import", str(tmp_path / "all.ldif"))
    assert outcomes(told) == [
        (PEOPLE[0], "taken", None),
        (PEOPLE[1], "taken", None),
        (None, "authority", None),
        (None, "passed_over", "ADDRESS_MISMATCH"),
        (None, "passed_over", "MALFORMED"),
    ]
    assert status == 1
    assert "URL" in told["certificates"][-1]["detail"]
    assert kept(database, PEOPLE[0]) == {ONE.der: KeptAs.IMPORTED}
    assert kept(database, "other@laboratory.example") == {}


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("title", ["", "Adresse{0}Datei\r\n"])
def test_a_list_of_addresses_and_files(tmp_path: Path, ask: Ask, database: Database, separator: str, title: str) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "one, first.pem").write_bytes(ONE.pem)
    (tmp_path / "two.der").write_bytes(TWO.der)
    rows = [(PEOPLE[0], '"inside/one, first.pem"'), (f" {PEOPLE[1].upper()} ", "two.der"), (PEOPLE[2], "two.der")]
    text = title.format(separator) + "".join(f"{address}{separator}{file}\r\n" for address, file in rows)
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    status, told = ask("cert", "import", str(tmp_path / "list.csv"))
    assert [(outcome, reason) for _, outcome, reason in outcomes(told)] == [
        ("taken", None),
        ("taken", None),
        ("passed_over", "ADDRESS_MISMATCH"),
    ]
    assert status == 1
    assert kept(database, PEOPLE[1]) == {TWO.der: KeptAs.IMPORTED}


@pytest.mark.parametrize("name", ["../secret.pem", "/etc/passwd", "link.pem", "nowhere.pem", "", ".", "a\x00b", "x" * 5000])
def test_a_list_opens_nothing_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    """It was made by somebody else, and would be read by whoever may read the state of the gateway."""
    folder = tmp_path / "given"
    folder.mkdir()
    (tmp_path / "secret.pem").write_bytes(ONE.pem)
    (folder / "link.pem").symlink_to(tmp_path / "secret.pem")
    (folder / "list.csv").write_text(f"{PEOPLE[0]},{name}\n")
    [passed] = read_partners(folder / "list.csv")
    assert isinstance(passed, PassedOver)
    assert (passed.reason, passed.detail) == (Reason.MALFORMED, "its second cell is no file in the folder of the list")


# What is passed over, and why


def test_each_is_told_with_the_reason(tmp_path: Path, ask: Ask, database: Database) -> None:
    folder = tmp_path / "partners"
    folder.mkdir()
    nameless = ROOT.leaf("CN=Nobody", ku=["key_agreement"])
    cases = {
        "a-domain.der": (ROOT.organisation_reader("laboratory.example").der, "ADDRESS_MISMATCH"),
        "b-expired.der": (ROOT.reader(PEOPLE[0], "p256", not_after=NOW).der, "EXPIRED"),
        "c-garbage.pem": (b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "MALFORMED"),
        "d-nameless.der": (nameless.der, "ADDRESS_MISMATCH"),
        "e-signs.der": (ROOT.signer(PEOPLE[0]).der, "KEY_USAGE"),
        "f-short.der": (ROOT.reader(PEOPLE[0], "rsa1024").der, "WEAK_ALGORITHM"),
        "g-bundle.p7b": (b"what is this", "MALFORMED"),
        "readme.txt": (b"Dear partner", "UNSUPPORTED"),
    }
    for name, (content, _) in cases.items():
        (folder / name).write_bytes(content)
    status, told = ask("cert", "import", str(folder))
    assert (status, told["taken"], told["passed_over"]) == (1, 0, len(cases))
    assert {Path(each["source"]).name: each["reason"] for each in told["certificates"]} == {
        name: reason for name, (_, reason) in cases.items()
    }
    assert kept(database, PEOPLE[0]) == {}


def test_what_is_there_already_is_told_and_what_is_pinned_stays_so(tmp_path: Path, ask: Ask, run: Run, database: Database) -> None:
    (tmp_path / "one.pem").write_bytes(ONE.pem)
    (tmp_path / "all.pem").write_bytes(ONE.pem + TWO.pem + TWO.pem)
    assert run("cert", "pin", PEOPLE[0], str(tmp_path / "one.pem")).exit_code == 0
    status, told = ask("cert", "import", str(tmp_path / "all.pem"))
    assert (status, outcomes(told)) == (
        0,
        [(PEOPLE[0], "present", None), (PEOPLE[1], "taken", None), (PEOPLE[1], "present", None)],
    )
    assert kept(database, PEOPLE[0]) == {ONE.der: KeptAs.PINNED}


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path, site: Path, ask: Ask, run: Run) -> None:
    (tmp_path / "all.pem").write_bytes(ONE.pem + TWO.pem)
    (site / "state").mkdir()
    path = str(tmp_path / "all.pem")
    _, before = ask("cert", "import", "--dry-run", path)
    assert list((site / "state").iterdir()) == []
    (tmp_path / "one.pem").write_bytes(ONE.pem)
    assert run("cert", "import", str(tmp_path / "one.pem")).exit_code == 0
    _, dry = ask("cert", "import", "--dry-run", path)
    _, still = ask("cert", "list")
    _, done = ask("cert", "import", path)
    assert (before["taken"], dry["taken"], dry["dry_run"]) == (2, 1, True)
    assert [each["address"] for each in still["certificates"]] == [PEOPLE[0]]
    assert done == dry | {"dry_run": False}
    lines = [line for file in (site / "state/audit").glob("cert-*") for line in file.read_text().splitlines()]
    assert sorted(json.loads(line)["address"] for line in lines) == PEOPLE[:2]


def test_where_something_fails_nothing_is_taken(
    tmp_path: Path, run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.state.byhand.MAX_BY_HAND", 2)
    (tmp_path / "all.pem").write_bytes(ONE.pem + TWO.pem + THREE.pem)
    failed = run("cert", "import", str(tmp_path / "all.pem"))
    assert (failed.exit_code, "TOO_MANY" in failed.stderr) == (2, True)
    assert kept(database, PEOPLE[0]) == {}


def test_what_waited_is_used_once_it_is_imported(tmp_path: Path, ask: Ask, database: Database) -> None:
    """Who hands his certificate over by another way has said that it is his."""
    insert = "INSERT INTO certificates VALUES ('hospital', ?, ?, 'waiting', '', 1, 1, ?, x'')"
    values = (PEOPLE[0], hashlib.sha256(ONE.der).digest(), ONE.der)
    database.call(lambda connection: connection.execute(insert, values), 2)  # type: ignore[arg-type]
    (tmp_path / "one.pem").write_bytes(ONE.pem)
    status, told = ask("cert", "import", str(tmp_path / "one.pem"))
    assert (status, told["taken"]) == (0, 1)
    assert kept(database, PEOPLE[0]) == {ONE.der: KeptAs.IMPORTED}


# Bounds


def test_what_is_offered_is_bounded(tmp_path: Path, run: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_OFFERED >= 10_000
    monkeypatch.setattr(certimport, "MAX_OFFERED", 2)
    (tmp_path / "all.pem").write_bytes(ONE.pem + TWO.pem + THREE.pem)
    failed = run("cert", "import", str(tmp_path / "all.pem"))
    assert (failed.exit_code, "LIMIT" in failed.stderr) == (2, True)
    assert kept(database, PEOPLE[0]) == {}


def test_files_of_a_folder_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_FILES >= 10_000
    monkeypatch.setattr(partners, "MAX_FILES", 2)
    for number in range(3):
        (tmp_path / f"{number}.der").write_bytes(ONE.der)
    *read, last = read_partners(tmp_path)
    assert len(read) == 2
    assert isinstance(last, PassedOver)
    assert last.reason is Reason.LIMIT


@pytest.mark.parametrize(
    ("name", "limit", "size"),
    [("a.ldif", "MAX_FILE", MAX_FILE), ("a.csv", "MAX_FILE", MAX_FILE), ("a.p7b", "MAX_BUNDLE", MAX_BUNDLE)],
)
def test_a_file_is_bounded(tmp_path: Path, name: str, limit: str, size: int) -> None:
    assert getattr(partners, limit) == size
    with (tmp_path / name).open("wb") as file:
        file.truncate(size + 1)
    [passed] = read_partners(tmp_path / name)
    assert isinstance(passed, PassedOver)
    assert passed.reason is Reason.LIMIT


def test_a_line_of_ldif_is_bounded_and_the_next_entry_read() -> None:
    long = b"mail: x" + b"\n " + b"y" * MAX_LINE
    entries = list(read_ldif(b"dn: a\n" + long + b"\n\ndn: b\nmail: b@x.example\n"))
    assert ([each.addresses for each in entries], len(entries[0].faults)) == ([[], ["b@x.example"]], 1)


def test_values_of_an_entry_are_bounded() -> None:
    [entry] = read_ldif(
        b"mail: a@x.example\n" * (MAX_VALUES + 1) + b"userCertificate:: AAAA\n" * MAX_VALUES + b"x\n" * 2 * MAX_VALUES
    )
    assert (len(entry.addresses), len(entry.certificates), len(entry.faults)) == (MAX_VALUES, MAX_VALUES, MAX_VALUES)


# Whatever is in a file


_LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"",
                b" ",
                b"#",
                b" folded",
                b"mail: a@b.example",
                b"mail:: ====",
                b"mail:< x:",
                b":",
                b"::",
                b"userCertificate;binary:: MIIB",
                b"userSMIMECertificate:: MIIB",
                b"userCertificate: x",
                b"changetype: delete",
                b"version: 1",
                b"\xff\xfe:: \xff",
            ]
        ),
        st.binary(max_size=30),
    ),
    max_size=30,
)


@given(_LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_no_ldif_is_an_exception(lines: list[bytes], end: bytes) -> None:
    for entry in read_ldif(end.join(lines)):
        assert entry.line >= 1


@given(
    st.sampled_from([".pem", ".der", ".p7b", ".ldif", ".csv", ".txt"]), st.one_of(st.binary(max_size=200), _LINES.map(b"\n".join))
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_file_is_an_exception(suffix: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"given{suffix}"
        path.write_bytes(content)
        for told in sort_out(read_partners(path), microseconds(NOW)):
            assert told.fate is Fate.PASSED_OVER
            assert told.reason is not None


_CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(
        st.lists(st.one_of(_CELLS, st.sampled_from(["a@b.example", "..", "/", '"', "~", "given.csv"])), max_size=3), max_size=6
    )
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_list_is_an_exception_or_takes_anything(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.csv"
        path.write_bytes("\n".join(",".join(row) for row in rows).encode())
        for told in sort_out(read_partners(path), microseconds(NOW)):
            assert told.fate is Fate.PASSED_OVER


@given(st.binary(max_size=300), st.integers(0, 300))
@settings(deadline=None)
def test_a_certificate_that_was_changed_is_no_exception(noise: bytes, at: int) -> None:
    der = THREE.der[:at] + noise + THREE.der[at + len(noise) :]
    for told in sort_out([Offered("x", der)], microseconds(NOW)):
        assert told.fate in {Fate.PASSED_OVER, Fate.TAKEN}


def test_an_entry_of_ldif_says_where_it_stands() -> None:
    entries = list(read_ldif(b"version: 1\n\ndn: a\nmail: a@x.example\n\n\n\ndn: b\nnonsense\n"))
    assert [(each.line, len(each.faults)) for each in entries] == [(1, 0), (3, 0), (8, 1)]
    assert len(entries) < ldif_module.MAX_VALUES


def test_authorities_whose_names_go_in_a_circle_end() -> None:
    one = Ca.root("CN=A").intermediate("CN=B")
    other = Ca(one.certificate, one.key).intermediate("CN=A")
    named: dict[Any, list[bytes]] = {}
    for each in (one, other):
        named.setdefault(facts(each.der).subject_name, []).append(each.der)
    leaf: Issued = other.reader(PEOPLE[0], "p256", not_after=END)
    assert certimport.above(leaf.der, named) == (other.der, one.der)
