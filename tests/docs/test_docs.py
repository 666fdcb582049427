"""The book says what is there: its links lead somewhere, its commands, files, metrics and limits exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from configparser import RawConfigParser
from importlib import import_module
from pathlib import Path

import click
import pytest

from gateway import events
from gateway.config.model import Limits
from gateway.edge.observe import shape
from gateway.events import Event
from gateway.operate.cli import main
from gateway.operate.control import Counted, GatewayCollector
from gateway.operate.reports import Report, Snapshots
from gateway.smime import limits as reading
from tests.system.test_directory_faults import CASES, DEADLINE

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted((ROOT / "docs").rglob("*.md"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
MADE = {"bench/RESULTS.md"}  # made by `make bench`, with the machine it ran on

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"^(?:    |\t)?(?:\$ )?smime-gateway\b(.*)$|`(?:\.venv/bin/)?smime-gateway ([^`\n]+)`", re.MULTILINE)
_FILE = re.compile(r"(?<![\w./-])(?:gateway|tests|deploy|config|demo|bench|docs)/[A-Za-z0-9_./-]*[A-Za-z0-9_]")


def rows(page: str, title: str = "") -> list[list[str]]:
    """The cells of every table row of a page that begins with a name in backticks, below ``title`` if given."""
    text = (ROOT / "docs" / page).read_text()
    if title:
        text = re.split(r"^## ", text.split(f"## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return [[cells[0].strip("`"), *cells[1:]] for cells in found]


# Links and files


def anchors(page: Path) -> set[str]:
    """The headings of a page as they are linked to."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for target in _LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists() or str(place.relative_to(ROOT)) in MADE, target
        assert not anchor or anchor in anchors(place), target


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_exists(name: str) -> None:
    for named in _FILE.findall((ROOT / name).read_text()):
        place = ROOT / named
        assert place.exists() or named in MADE or any(place.parent.glob(f"{place.name}.*")), named


def test_the_readme_lists_every_page() -> None:
    linked = set(_LINK.findall((ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_every_decision_has_a_number_of_its_own_and_a_title_with_it() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [page.name[:4] for page in decisions]
    assert numbers == sorted(set(numbers))
    for page in decisions:
        assert page.read_text().startswith(f"# {page.name[:4]}: ")


# Commands


def commands(text: str) -> Iterator[list[str]]:
    """The words behind each ``smime-gateway`` of a page, up to what a shell or a reader adds."""
    for line, inline in _COMMAND.findall(text):
        words = shlex.split(re.split(r" {2,}|[>|;#&]", (line or inline).strip())[0].strip())
        if words and re.fullmatch(r"-{0,2}[a-z][a-z-]*", words[0]):
            yield words


def check_command(words: list[str]) -> None:
    """Raises where ``words`` are no command of ours with options it knows."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
    options = {name: each for each in command.params for name in each.opts}
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--"):
            assert name in options or name in ("--help", "--version"), f"{command.name} has no option {name}"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_exists(name: str) -> None:
    for words in commands((ROOT / name).read_text()):
        check_command(words)


def test_the_commands_of_the_readme_are_found_at_all() -> None:
    assert len(list(commands((ROOT / "README.md").read_text()))) >= 6


def test_a_command_or_an_option_that_does_not_exist_is_found_out() -> None:
    for text in ("    smime-gateway chekc", "`smime-gateway queue drop X --sure`", "    smime-gateway queue lost"):
        (words,) = commands(text)
        with pytest.raises(AssertionError, match="no "):
            check_command(words)


# Metrics


def every_event() -> list[type[Event]]:
    return [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Event) and each is not Event]


def test_every_event_has_its_metric_with_its_labels_and_there_is_no_other() -> None:
    told = {cells[0]: re.findall(r"`(\w+)`", cells[1]) for cells in rows("metrics.md", "Events")}
    expected = {f"smime_gateway_{shape(kind).name}_total": list(shape(kind).labels) for kind in every_event()}
    assert told == expected


def test_every_gauge_has_its_row() -> None:
    snapshots = Snapshots()
    snapshots.take(Report("worker-0", 1, {}), 0)
    counted = Counted({"held": 0}, {"waiting": 0})
    collector = GatewayCollector(snapshots, lambda: counted, lambda: 0, lambda: 0, lambda: {"tls.gateway": 0})
    found = {metric.name: metric for metric in collector.collect()}
    told = {cells[0]: re.findall(r"`(\w+)`", cells[1]) for cells in rows("metrics.md", "Gauges")}
    assert told == {name: list(metric.samples[0].labels) for name, metric in found.items()}


def test_the_audit_page_names_every_event() -> None:
    told = {cells[0] for cells in rows("operate.md", "The audit")}
    assert told == {shape(kind).name for kind in every_event()}


# Faults


def test_every_fault_of_a_directory_has_its_figure() -> None:
    """By its name in the test that makes it. The figures are of one run, and within what the test allows every run."""
    told = set()
    for name, *cells in rows("decisions/0017-nobody-waits-for-a-dead-publisher.md", "Directories"):
        fault = name.partition("`")[0]
        for server, cell in zip(("ldap", "starttls", "ldaps", "dns"), cells, strict=True):
            for seconds, how in re.findall(r"(\d+\.\d+)(\D*)", cell):
                told.add((server, f"{fault}-over-tcp" if "over TCP" in how else fault))
                assert float(seconds) < DEADLINE + 1
    assert told == {(case.server, case.fault) for case in CASES}


# Limits

_UNITS = {"": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "days": 86400}


def values(text: str) -> set[float]:
    """What a cell such as ``64 KiB`` or ``5 min`` may be in the code: times are seconds or microseconds there."""
    number, _, unit = text.replace(",", "").partition(" ")
    if unit in _SECONDS:
        seconds = float(number) * _SECONDS[unit]
        return {seconds, seconds * 1_000_000}
    return {float(number) * _UNITS[unit]}


def test_every_configured_limit_is_told_with_its_default() -> None:
    told = {cells[0]: cells[1] for cells in rows("limits.md", "Configured")}
    assert told == {name: str(field.default) for name, field in Limits.model_fields.items()}


@pytest.mark.parametrize("cells", rows("limits.md", "Built in"), ids=lambda cells: f"{cells[2]}:{cells[0]}")
def test_a_limit_built_in_has_the_value_that_is_told(cells: list[str]) -> None:
    name, value, place, guards = cells
    module = import_module(place.strip("`").removesuffix(".py").replace("/", "."))
    assert float(getattr(module, name)) in values(value)
    assert guards


def test_every_limit_of_reading_is_told() -> None:
    told = {cells[0] for cells in rows("limits.md", "Built in") if cells[2] == "`gateway/smime/limits.py`"}
    assert told == {name for name in vars(reading) if name.startswith("MAX_")}


# What deploys it


UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def read_unit(path: Path) -> RawConfigParser:
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # directives of systemd are written so
    unit.read(path)
    return unit


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_a_command_that_exists(path: Path) -> None:
    unit = read_unit(path)
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    home, _, place = program.partition("/.venv/")
    assert f".venv/{place}" in (ROOT / "deploy" / "setup").read_text()
    check_command(words)
    book = unit["Unit"]["Documentation"].removeprefix(f"file:{home}/")
    assert (ROOT / book).is_file()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_understands_every_line_of_a_unit(path: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for each in UNITS:  # units name each other; the program need not be where they expect it
        (tmp_path / each.name).write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", each.read_text(), flags=re.MULTILINE))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / path.name)]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_units_script_and_book_agree_on_the_two_users() -> None:
    """The section that install.md shows is what the script writes, and what systemd sets up for it."""
    book = (ROOT / "docs" / "install.md").read_text()
    told = tomllib.loads(
        re.sub(r"^    ", "", re.findall(r"^    \[agents\]\n(?:    .+\n)+", book, re.MULTILINE)[0], flags=re.MULTILINE)
    )
    keys, mail = (
        read_unit(ROOT / "deploy" / "systemd" / f"{name}.service")["Service"] for name in ("smime-gateway-keys", "smime-gateway")
    )
    assert told["agents"] == {
        "user": keys["User"],
        "serve": mail["User"],
        "state": f"/var/lib/{keys['StateDirectory']}",
        "run": f"/run/{keys['RuntimeDirectory']}",
    }
    assert keys["Group"] == mail["Group"] == mail["User"]
    script = (ROOT / "deploy" / "two-users").read_text()
    names = re.search(r"KEYS_USER:-([\w-]+)\}.*MAIL_USER:-([\w-]+)\}", script, re.DOTALL)
    assert names is not None
    assert names.groups() == (keys["User"], mail["User"])
    assert re.findall(r"_BASE:-(/[a-z/]+)\}/([\w-]+)$", script, re.MULTILINE) == [
        ("/var/lib", mail["StateDirectory"]),
        ("/run", mail["RuntimeDirectory"]),
    ]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def test_the_image_installs_only_what_the_setup_knows() -> None:
    setup = (ROOT / "deploy" / "setup").read_text()
    installs = [text for name, text in instructions() if name == "RUN" and "apt-get install" in text]
    assert installs
    for text in installs:
        words = text.split("apt-get install", 1)[1].split("&&")[0].split()
        for package in (word for word in words if not word.startswith("-")):
            assert re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", setup), package
        assert "--no-install-recommends" in text
        assert "rm -rf /var/lib/apt/lists/*" in text


def test_the_image_is_built_by_the_steps_the_tests_perform() -> None:
    setup = (ROOT / "deploy" / "setup").read_text()
    ours = [text.split()[1] for name, text in instructions() if name == "RUN" and text.startswith("deploy/setup")]
    assert ours == ["runtime"]
    assert all(re.search(rf"^ +{want}\)", setup, re.MULTILINE) for want in ours)


def test_the_image_copies_what_is_there_and_before_it_is_needed() -> None:
    order = instructions()
    copied: list[str] = []
    for name, text in order:
        if name == "COPY":
            *sources, _ = text.split()
            assert all((ROOT / source).exists() for source in sources), text
            copied += sources
        if name == "RUN" and text.startswith("deploy/setup"):
            assert {"deploy/setup", "requirements.lock"} <= set(copied)
    assert "gateway" in copied


def test_the_image_runs_our_command_as_a_user_of_its_own() -> None:
    order = instructions()
    names = [name for name, _ in order]
    assert names[0] == "FROM"
    assert set(names) <= {"FROM", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD", "ENV", "LABEL"}
    last = dict(order)
    assert last["FROM"].endswith(":12-slim")
    assert last["USER"] not in ("root", "0")
    assert f"useradd --system --home-dir /var/lib/smime-gateway --create-home {last['USER']}" in (ROOT / "Dockerfile").read_text()
    home = last["WORKDIR"]
    (program,) = re.findall(r'"([^"]+)"', last["ENTRYPOINT"])
    assert program == f"{home}/.venv/bin/smime-gateway"
    check_command(re.findall(r'"([^"]+)"', last["CMD"]))
