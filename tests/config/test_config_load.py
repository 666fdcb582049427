"""A configuration is read whole, or refused with every mistake at once."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from asn1crypto import pem
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.config.load import load
from gateway.config.mistake import ConfigError
from gateway.config.model import Config, KeyStore, TlsMode
from tests.pki import Ca, for_ecdh_alone

SAMPLE = Path(__file__).parents[2] / "config"
VALUES = ["1", "-1", "true", '"x"', '""', "[]", "{}", '["a"]', "[[1]]", "1.5", "nan", "inf", "1979-05-27", '{x = "y"}', '"\\u0000"']
VALUES += ["9" * 5000, "0x" + "f" * 5000, "[" * 300 + "]" * 300, '"' + "x" * 5000 + '"', '"@"', '"*"', '"é.example"', "[{}]"]


@pytest.fixture
def sample(site: Path) -> Path:
    """The sample of config/, with the files it names; the token's module is a file of ours, that of SoftHSM may be absent."""
    shutil.copytree(SAMPLE, site, dirs_exist_ok=True)
    text = (site / "gateway.toml").read_text().replace("/usr/lib/softhsm/libsofthsm2.so", "pin")
    (site / "gateway.toml").write_text(text)
    return site / "gateway.toml"


def mistakes(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [str(mistake).replace(f"{file.parent}/", "") for mistake in caught.value.mistakes]


def line_of(text: str) -> int:
    """Where the sample says ``text`` first."""
    whole = (SAMPLE / "gateway.toml").read_text()
    return whole.count("\n", 0, whole.index(text)) + 1


def test_the_sample_loads(sample: Path) -> None:
    config = load(sample, generation=7)
    assert config.generation == 7
    assert config.organisation["hospital"].domains == ("hospital.example",)
    assert config.key["hospital-sign"].store is KeyStore.TOKEN
    assert config.zone["health"].peer[1].tls is TlsMode.STARTTLS
    assert [rule.name for rule in config.rule] == ["confidential", "newsletter-unprotected"]


def test_what_is_left_out_has_the_values_of_the_model(sample: Path) -> None:
    assert load(sample).limits == Config.model_fields["limits"].default


def test_relative_paths_start_at_the_file_that_holds_them(sample: Path) -> None:
    config = load(sample)
    assert config.tls["gateway"].key == sample.parent / "tls/gateway.key"
    assert config.zone["health"].anchors.resolve() == sample.parent / "anchors/health.pem"
    assert config.state == Path("/var/lib/smime-gateway")


def test_a_relative_name_of_the_configuration_makes_absolute_paths(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample.parent)
    assert load(Path("gateway.toml")).tls["gateway"].key.is_absolute()


def test_a_missing_file_is_a_mistake_with_its_name(tmp_path: Path) -> None:
    expected = "gateway.toml:1: found No such file or directory; allowed: a TOML file that can be read"
    assert mistakes(tmp_path / "gateway.toml") == [expected]


def test_a_key_of_ours_for_ecdh_alone_and_one_of_no_known_name(sample: Path) -> None:
    """id-ecDH is a name of keys that open; with id-ecMQV (both RFC 5480 2.1.2) nothing can be done."""
    place = sample.parent / "keys/hospital-decrypt.pem"
    place.write_bytes(pem.armor("CERTIFICATE", for_ecdh_alone(Ca.root()).der))
    load(sample)
    place.write_bytes(pem.armor("CERTIFICATE", for_ecdh_alone(Ca.root(), name="1.3.132.1.13").der))
    found = "found something else in keys/hospital-decrypt.pem; allowed: a PEM file of certificates"
    assert mistakes(sample) == [f"gateway.toml:{line_of('[key.hospital-decrypt]') + 3}: key.hospital-decrypt.certificate: {found}"]


def test_bytes_that_are_no_text_are_a_mistake_on_their_line(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_bytes(b"# fine\nhostname = '\xff'\n")
    assert mistakes(tmp_path / "gateway.toml") == ["gateway.toml:2: found bytes that are no text; allowed: UTF-8"]


def test_a_broken_zone_file_does_not_hide_mistakes_elsewhere(sample: Path) -> None:
    (sample.parent / "zones/health.toml").write_text("anchors =")
    sample.write_text(sample.read_text().replace("port = 465", "port = 0x10000"))
    assert [line.split(": found")[0] for line in mistakes(sample)] == [
        f"gateway.toml:{line_of('port = 465')}: listener.zone.port",
        "zones/health.toml:1",
    ]


def test_zones_that_cannot_be_read_are_not_none(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail to their peers would leave as to anybody else, in clear unless a rule says otherwise."""
    sample.write_text(re.sub(r"(?s)\[listener\.zone\].*?\n\n", "", sample.read_text()))  # nothing else speaks of a zone
    zones = sample.parent / "zones"
    load(sample)

    def closed(_: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    allowed = "allowed: a directory that can be read"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", closed)
        assert mistakes(sample) == [f"zones:1: found Permission denied; {allowed}"]
    shutil.rmtree(zones)
    assert load(sample).zone == {}
    zones.write_text("")
    assert mistakes(sample) == [f"zones:1: found Not a directory; {allowed}"]
    zones.unlink()
    zones.symlink_to("not mounted")
    assert mistakes(sample) == [f"zones:1: found No such file or directory; {allowed}"]


def test_line_ends_of_windows_keep_the_lines(sample: Path) -> None:
    sample.write_bytes(
        sample.read_text().replace("port = 465", "port = 0").replace('"health"', '"wealth"', 1).replace("\n", "\r\n").encode()
    )
    line = line_of('zone = "health"')
    assert mistakes(sample)[0].startswith(f"gateway.toml:{line}: listener.zone.zone: found 'wealth'")


def test_a_secret_written_in_the_wrong_place_is_not_repeated(sample: Path) -> None:
    sample.write_text(sample.read_text().replace('{ credential = "pin" }', '["k7-secret"]'))
    assert "k7-secret" not in "".join(mistakes(sample))


def test_the_tree_is_frozen(sample: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(sample).limits.recipients = 3  # type: ignore[misc]


@pytest.fixture(scope="session")
def mutated(tmp_path_factory: pytest.TempPathFactory, material_files: dict[str, bytes]) -> Path:
    site = tmp_path_factory.mktemp("mutated")
    for name, data in material_files.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_bytes(data)
    (site / "zones").mkdir()
    return site


SAMPLES = {name: (SAMPLE / name).read_text() for name in ("gateway.toml", "zones/health.toml")}


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, bytes]:
    """One of the samples with values replaced, lines moved or bytes changed."""
    name = draw(st.sampled_from(sorted(SAMPLES)))
    lines = SAMPLES[name].split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                lines[at] = re.sub(r"=.*", lambda _: "= " + draw(st.sampled_from(VALUES)), lines[at])
            case 1:
                lines[at] = draw(st.text(max_size=20))
            case 2:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 3:
                lines[at] = re.sub(r"[a-z]+", lambda word: word[0][::-1], lines[at], count=1)
            case _:
                del lines[at]
                lines.append("")
    return name, "\n".join(lines).encode("utf-8", "surrogatepass")


@given(mutations())
@example(("gateway.toml", b"[zone]\n"))
@example(("gateway.toml", b"[zone.health]\n"))
@example(("gateway.toml", b"key = [1]\nrule = {}\ntls = 1\nlimits = []\n"))
@example(("gateway.toml", b"a = " + b"[" * 100_000))
@example(("gateway.toml", b'[directory.partners]\nkind = "folder"\npath = "%s"\n' % (b"x" * 300)))
@example(("zones/health.toml", b"[peer]\n[zone]\n"))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_files_hold_nothing_but_config_error_comes_out(mutated: Path, mutation: tuple[str, bytes]) -> None:
    for name, text in SAMPLES.items():
        (mutated / name).write_bytes(mutation[1] if name == mutation[0] else text.encode())
    with contextlib.suppress(ConfigError):
        assert load(mutated / "gateway.toml").hostname


def test_the_checked_tree_survives_its_way_to_other_processes(sample: Path) -> None:
    config = load(sample, generation=7)
    assert config.owners == {"hospital.example": "hospital"}
    assert config.peers["imaging.example"] == ("health", "radiology")
    again = Config.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.peers == config.peers
