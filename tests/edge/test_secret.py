"""Where secrets come from, and what is said when they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.model import Secret
from gateway.edge.secret import SecretError, read_secret


def test_a_file_loses_only_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "pin").write_bytes(b" 12 34 \r\n")
    assert read_secret(Secret(file=tmp_path / "pin")) == " 12 34 "


def test_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_PIN", "1234")
    assert read_secret(Secret(environment="GATEWAY_TEST_PIN")) == "1234"


def test_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pin").write_text("1234")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(Secret(credential="pin")) == "1234"


def test_a_missing_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("GATEWAY_TEST_PIN", raising=False)
    for source, words in (
        (Secret(file=tmp_path / "none"), "none: No such file"),
        (Secret(environment="GATEWAY_TEST_PIN"), "GATEWAY_TEST_PIN is not set"),
        (Secret(credential="pin"), "LoadCredential=pin"),
    ):
        with pytest.raises(SecretError, match=words):
            read_secret(source)


def test_a_credential_cannot_leave_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "pin").write_text("1234")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    with pytest.raises(SecretError, match="without a path"):
        read_secret(Secret(credential="../pin"))


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_what_is_no_secret_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pin").write_bytes(content)
    with pytest.raises(SecretError) as error:
        read_secret(Secret(file=tmp_path / "pin"))
    assert "xxx" not in str(error.value)
