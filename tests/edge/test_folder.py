"""A folder of certificates: found by address and domain, and always as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.edge import folder as folder_module
from gateway.edge.anchorfile import read_anchors, read_certificates
from gateway.edge.folder import MAX_FILES, Folder
from gateway.mail.address import parse_address
from gateway.trust.certificate import CertificateError
from gateway.trust.ladder import Way
from gateway.trust.sources import DirectoryError, Found
from tests.pki import Ca

ROOT = Ca.root()
ISSUING = ROOT.intermediate()
RESULTS = parse_address("results@laboratory.example")


async def test_address_and_domain(tmp_path: Path) -> None:
    """PEM and DER, the address's own first, then its domain's; authorities apart; other files are passed over."""
    own = ISSUING.reader("Results@Laboratory.example", kind="p256")
    domain = ISSUING.organisation_reader("laboratory.example", kind="p256")
    (tmp_path / "results.pem").write_bytes(own.chain_pem)
    (tmp_path / "laboratory.cer").write_bytes(domain.der)
    (tmp_path / "broken.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "README").write_text("no certificate")
    folder = Folder("people", tmp_path)
    assert await folder.find(RESULTS) == Found((own.der, domain.der), (ISSUING.der,), way=Way.GUARDED)
    assert await folder.find(parse_address("office@laboratory.example")) == Found((domain.der,), (ISSUING.der,), way=Way.GUARDED)
    assert await folder.find(parse_address("x@elsewhere.example")) == Found((), (ISSUING.der,), way=Way.GUARDED)


async def test_changes_count(tmp_path: Path) -> None:
    """What is put in, replaced or taken out is seen by the next look."""
    folder = Folder("people", tmp_path, look_seconds=0)
    assert (await folder.find(RESULTS)).certificates == ()
    first, second = (ISSUING.reader("results@laboratory.example", kind=kind) for kind in ("p256", "p384"))
    (tmp_path / "results.der").write_bytes(first.der)
    assert (await folder.find(RESULTS)).certificates == (first.der,)
    (tmp_path / "results.der").write_bytes(second.der)
    assert (await folder.find(RESULTS)).certificates == (second.der,)
    (tmp_path / "results.der").unlink()
    assert (await folder.find(RESULTS)).certificates == ()


async def test_between_two_looks_the_disk_is_left_alone(tmp_path: Path) -> None:
    """What was found stands until it is time to look again."""
    own = ISSUING.reader("results@laboratory.example", kind="p256")
    (tmp_path / "results.der").write_bytes(own.der)
    folder = Folder("people", tmp_path, look_seconds=3600)
    assert (await folder.find(RESULTS)).certificates == (own.der,)
    (tmp_path / "results.der").unlink()
    assert (await folder.find(RESULTS)).certificates == (own.der,)


async def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there is unavailable, not empty."""
    with pytest.raises(DirectoryError):
        await Folder("people", tmp_path / "missing").find(RESULTS)


async def test_a_file_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold the very certificate that is looked for: whom no other file names, nobody can say now. It is looked at again each
    time, since to change its mode changes nothing else of it.
    """
    own, other = (ISSUING.reader(f"{name}@laboratory.example", kind="p256") for name in ("results", "office"))
    (tmp_path / "results.der").write_bytes(own.der)
    (tmp_path / "office.der").write_bytes(other.der)
    closed = {"results.der"}

    def read(path: Path) -> tuple[bytes, ...]:
        if path.name in closed:
            raise PermissionError(13, "Permission denied")
        return read_certificates(path)

    monkeypatch.setattr(folder_module, "read_certificates", read)
    folder = Folder("people", tmp_path, look_seconds=0)
    for _ in range(2):
        with pytest.raises(DirectoryError, match=r"results\.der: Permission denied"):
            await folder.find(RESULTS)
        assert (await folder.find(parse_address("office@laboratory.example"))).certificates == (other.der,)
    closed.clear()
    assert (await folder.find(RESULTS)).certificates == (own.der,)
    assert (await folder.find(parse_address("x@elsewhere.example"))).certificates == ()


async def test_a_file_that_is_being_written_is_not_passed_over(tmp_path: Path) -> None:
    """Half of it is there, of a certificate that is being renewed: that it holds none is not known."""
    own = ISSUING.reader("results@laboratory.example", kind="p256")
    (tmp_path / "results.pem").write_bytes(own.pem)
    folder = Folder("people", tmp_path, look_seconds=0)
    assert (await folder.find(RESULTS)).certificates == (own.der,)
    for half in (own.pem[:300], b""):
        (tmp_path / "results.pem").write_bytes(half)
        for _ in range(2):
            with pytest.raises(DirectoryError, match=r"results\.pem"):
                await folder.find(RESULTS)
    (tmp_path / "results.pem").write_bytes(own.pem)
    assert (await folder.find(RESULTS)).certificates == (own.der,)
    (tmp_path / "results.pem").write_bytes(b"")
    with pytest.raises(DirectoryError):
        await folder.find(RESULTS)
    (tmp_path / "results.pem").unlink()
    assert (await folder.find(RESULTS)).certificates == ()


def test_anchor_file(tmp_path: Path) -> None:
    """A list in PEM: the root is an anchor, the authority below it an intermediate."""
    path = tmp_path / "anchors.pem"
    path.write_bytes(ISSUING.pem + ROOT.pem)
    anchors = read_anchors(path)
    assert (anchors.certificates, anchors.intermediates) == ((ROOT.der,), (ISSUING.der,))


@pytest.mark.parametrize("content", [b"", b"nonsense", ROOT.pem[:200] + b"\n-----END CERTIFICATE-----\n"])
def test_no_certificates(tmp_path: Path, content: bytes) -> None:
    """A file that is none says which file."""
    path = tmp_path / "anchors.pem"
    path.write_bytes(content)
    with pytest.raises(CertificateError, match=r"anchors\.pem"):
        read_certificates(path)


async def test_a_folder_of_too_many_files_is_refused(tmp_path: Path) -> None:
    """Only files that may hold certificates count."""
    own = ISSUING.reader("results@laboratory.example", kind="p256")
    (tmp_path / "results.der").write_bytes(own.der)
    (tmp_path / "README").touch()
    for number in range(MAX_FILES - 1):
        (tmp_path / f"{number}.der").touch()
    folder = Folder("people", tmp_path, look_seconds=0)
    assert (await folder.find(RESULTS)).certificates == (own.der,)
    (tmp_path / "one-more.der").touch()
    with pytest.raises(DirectoryError, match=f"more than {MAX_FILES} files"):
        await folder.find(RESULTS)
