"""A site whose key agents run as another user than everything else: as packages and units would set it up, without either.

Nothing is made on this host for it: three users that every Debian has lend their user ids.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from demo.site import Site
from tests.system.lab import PATIENCE, end

KEYS: Final = "bin"
MAIL: Final = "daemon"
OTHER: Final = "nobody"
ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = ["-c", "from gateway.operate.cli import main; main()"]
PATH: Final = os.pathsep.join((str(ROOT), sysconfig.get_path("purelib")))


def user_id(name: str) -> int:
    """The user id of ``name``."""
    return pwd.getpwnam(name).pw_uid


def shared_group() -> int:
    """The group of the mail part, which the key part runs in too."""
    return pwd.getpwnam(MAIL).pw_gid


@dataclass(frozen=True, slots=True)
class As:
    """Runs Python as a user, in the shared group unless it is left out."""

    interpreter: str
    name: str
    in_group: bool = True

    @property
    def _who(self) -> dict[str, Any]:
        alone = grp.getgrnam("nogroup").gr_gid
        return {
            "user": user_id(self.name),
            "group": shared_group() if self.in_group else alone,
            "extra_groups": [],
            "umask": 0o077,
            "cwd": "/",
            "env": {"PATH": "/usr/bin:/bin", "PYTHONPATH": PATH, "PYTHONDONTWRITEBYTECODE": "1"},
        }

    def start(self, *words: str | Path, **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - those of Popen
        """A process that goes on."""
        return subprocess.Popen([self.interpreter, *map(str, words)], text=True, **self._who, **options)

    def do(self, code: str, *arguments: object) -> str:
        """What ``code`` prints, or the name of the error that ended it."""
        wrapped = f"import sys\ntry:\n    exec({code!r})\nexcept OSError as error:\n    print(type(error).__name__)"
        words = [self.interpreter, "-c", wrapped, *map(str, arguments)]
        done = subprocess.run(words, text=True, capture_output=True, check=False, timeout=PATIENCE, **self._who)
        assert not done.returncode, done.stderr
        printed: str = done.stdout
        return printed.strip()

    def ask(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """A command of ours."""
        words = [self.interpreter, *COMMAND, *map(str, arguments)]
        return subprocess.run(words, text=True, capture_output=True, check=False, timeout=PATIENCE, **self._who)


def interpreter() -> str:
    """A Python like ours that other users may start. Skips the test where there is none, or where we are not root."""
    if os.geteuid() != 0:
        pytest.skip("only root may start processes as other users")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}"):
        try:
            As(candidate, OTHER, in_group=False).do("import gateway, apsw, pkcs11, uvloop")
        except (OSError, AssertionError):
            continue
        return candidate
    pytest.skip(f"no {version} that other users may start: ours lies where they cannot look")


def part_users(site: Site) -> None:
    """Part a site that was made by root, by the script that does it for administrators; and make what systemd would."""
    places = {"KEYS_USER": KEYS, "MAIL_USER": MAIL, "STATE_BASE": str(site.folder / "lib"), "RUN_BASE": str(site.folder / "run")}
    for _ in range(2):  # it may be repeated
        command = [ROOT / "deploy" / "two-users", site.folder]
        subprocess.run(command, check=True, timeout=PATIENCE, env={"PATH": os.environ["PATH"], **places})
    for name in ("lib", "run"):
        (site.folder / name).mkdir(exist_ok=True)
        (site.folder / name).chmod(0o755)
    for path, user in ((key_run(site), KEYS), (mail_run(site), MAIL)):  # RuntimeDirectory=
        path.mkdir(mode=0o750)
        os.chown(path, user_id(user), shared_group())
    (site.folder / "state").symlink_to(state(site))  # where whoever reads a site's audit looks for it


def state(site: Site) -> Path:
    """What the mail part keeps."""
    return site.folder / "lib" / "smime-gateway"


def key_state(site: Site) -> Path:
    """What the key agents keep."""
    return site.folder / "lib" / "smime-gateway-keys"


def mail_run(site: Site) -> Path:
    """The run directory of the mail part."""
    return site.folder / "run" / "smime-gateway"


def key_run(site: Site) -> Path:
    """The run directory of the key agents."""
    return site.folder / "run" / "smime-gateway-keys"


@dataclass
class Apart:
    """Starts and ends the two parts of ``site``. ``site.process`` is the mail part, so that whatever asks a site works."""

    site: Site
    interpreter: str
    keys: subprocess.Popen[str] | None = field(default=None)

    def _start(self, user: str, ready: str) -> subprocess.Popen[str]:
        with (self.site.folder / "gateway.log").open("ab") as log:
            process = As(self.interpreter, user).start(
                *COMMAND, "run", "--config", self.site.configuration, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert ready in line, (line, (self.site.folder / "gateway.log").read_text()[-2000:])
        return process

    def start_keys(self) -> None:
        """The part of the key agents, ready."""
        self.keys = self._start(KEYS, "is ready: its key agents")

    def start_mail(self) -> None:
        """The rest, ready."""
        self.site.process = self._start(MAIL, "is ready: all but the key agents")

    def agents(self) -> list[psutil.Process]:
        """The key agents that run."""
        assert self.keys is not None
        running: list[psutil.Process] = psutil.Process(self.keys.pid).children()
        return running

    def kill_keys(self) -> None:
        """``kill -9`` of the key agents and what watches over them; returns when all of them are gone."""
        assert self.keys is not None
        agents = self.agents()
        for each in (*agents, self.keys):
            each.kill()
        psutil.wait_procs(agents, timeout=PATIENCE)
        self._forget_keys()

    def stop_keys(self) -> int:
        """As ``systemctl stop`` does; gives the exit status."""
        assert self.keys is not None
        self.keys.terminate()
        return self._forget_keys()

    def _forget_keys(self) -> int:
        assert self.keys is not None
        status = self.keys.wait(PATIENCE)
        if self.keys.stdout is not None:
            self.keys.stdout.close()
        self.keys = None
        return status

    def close(self) -> None:
        """End both parts."""
        try:
            end(self.site)
        finally:
            if self.keys is not None:
                assert self.stop_keys() == 0
