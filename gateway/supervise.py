"""The supervisor behind ``smime-gateway run``: starts the processes of a part, restarts what dies, drains in order, reloads.

Start: all at once; each says ``ready`` on its standard output, and the gateway is ready when all are. Drain (SIGTERM): workers
first, so that mails in hand still find their agents. Where ``[agents]`` keeps these apart, each part has a supervisor of its
own, and neither waits for the other: a worker without agents accepts mail, and defers what needs a key.

Reload (SIGHUP, or a changed file): the new configuration is checked whole before anybody sees it; children read the checked
tree from their part's run directory, never the files an administrator may be editing, and never what another user wrote. A
child whose standard input ends knows that its supervisor is gone, and ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog

from gateway.config.fingerprint import Changes, fingerprint
from gateway.config.lasting import lasting, needs_restart
from gateway.config.load import load
from gateway.config.mistake import ConfigError
from gateway.config.model import Config
from gateway.config.part import Part
from gateway.events import ConfigurationLoaded, ConfigurationRefused, Observer, ProcessEnded, ProcessStarted

DRAIN_SECONDS: Final = 30.0
READY_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 2.0
FIRST_RESTART_SECONDS: Final = 0.2
LONGEST_RESTART_SECONDS: Final = 30.0

_log = structlog.get_logger()


class Kind(StrEnum):
    """The kinds of process; they are drained from the last to the first."""

    SIGN_AGENT = "sign-agent"
    UNWRAP_AGENT = "unwrap-agent"
    CONTROL = "control"
    WORKER = "worker"


AGENTS: Final = (Kind.SIGN_AGENT, Kind.UNWRAP_AGENT)
_KINDS: Final = {
    Part.WHOLE: tuple(Kind),
    Part.KEYS: AGENTS,
    Part.MAIL: tuple(kind for kind in Kind if kind not in AGENTS),
}


@dataclass(frozen=True, slots=True)
class Child:
    """One process of ours, by kind and number."""

    kind: Kind
    index: int

    @property
    def name(self) -> str:
        """As it is called in audit, metrics and ``status``."""
        return f"{self.kind}-{self.index}"


class StartFailed(Exception):
    """Another gateway has our run directory; or a process of the first start did not become ready: its own words stand on
    standard error.
    """


def children(config: Config, part: Part = Part.WHOLE) -> list[Child]:
    """Every process the configuration asks for, or those of one part."""
    counts = {
        Kind.SIGN_AGENT: config.processes.sign_agents,
        Kind.UNWRAP_AGENT: config.processes.unwrap_agents,
        Kind.CONTROL: 1,
        Kind.WORKER: config.processes.workers or os.cpu_count() or 1,
    }
    return [Child(kind, index) for kind in _KINDS[part] for index in range(counts[kind])]


def process_names(config: Config) -> tuple[str, ...]:
    """Every process of the gateway that reports what it counts: all but control, which they report to."""
    supervisors = (Part.WHOLE,) if config.agents is None else (Part.KEYS, Part.MAIL)
    return (*supervisors, *(child.name for child in children(config) if child.kind is not Kind.CONTROL))


def state_of(config: Config, part: Part) -> Path:
    """The directory of what a part keeps."""
    return config.key_state if part is Part.KEYS else config.state


def run_of(config: Config, part: Part) -> Path:
    """The run directory of a part: its checked configuration and its sockets."""
    return config.key_run if part is Part.KEYS else config.run


def tree_file(run: Path) -> Path:
    """Where the checked configuration lies for the children."""
    return run / "config.json"


def agent_sockets(config: Config, kind: Kind) -> tuple[Path, ...]:
    """Where the key agents of one kind listen."""
    return tuple(agent_socket(config.key_run, child) for child in children(config) if child.kind is kind)


def agent_socket(run: Path, child: Child) -> Path:
    """Where one key agent listens, in the run directory of its part."""
    return run / f"{child.name}.sock"


def read_tree(run: Path) -> Config:
    """The configuration the supervisor checked."""
    return Config.model_validate_json(tree_file(run).read_bytes())


def environment(config: Config, kind: Kind, inherited: dict[str, str]) -> dict[str, str]:
    """A child's environment: only key agents inherit the variables that hold a PIN or a passphrase."""
    secrets = [key.passphrase for key in config.key.values()] + ([config.token.pin] if config.token else [])
    hidden = {secret.environment for secret in secrets if secret is not None and secret.environment is not None}
    return {name: text for name, text in inherited.items() if kind in AGENTS or name not in hidden}


@contextlib.contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Keep others out of the run directory: key agents of a second supervisor would take the place of ours there, and leave none
    behind when it ends. Raises :class:`StartFailed`.
    """
    run.mkdir(mode=0o750, parents=True, exist_ok=True)
    lock = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailed(f"a gateway runs already in {run}") from None
        yield
    finally:
        os.close(lock)


class Supervisor:
    """Owns every child from start to end."""

    def __init__(self, path: Path, observer: Observer, entry: Callable[[Child, Path], list[str]], part: Part = Part.WHOLE) -> None:
        """``entry`` gives the command line of a child, from the child and the run directory of ``part``."""
        self._path = path
        self._observer = observer
        self._entry = entry
        self._config = self._began = load(path, generation=1)
        self._began_from = fingerprint(self._config, path)  # of what was read, not of what lies there once all have started
        self._part = part
        self._processes: dict[Child, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT. Raises :class:`StartFailed`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        with _alone(run_of(self._config, self._part)):
            await self._run(ready)

    async def _run(self, ready: Callable[[], None]) -> None:
        self._write_tree(self._config)
        try:
            await self._start_all()
            self._observer.see(ConfigurationLoaded(generation=self._config.generation))
            ready()
            async with asyncio.TaskGroup() as tasks:
                keepers = [tasks.create_task(self._keep(child)) for child in children(self._config, self._part)]
                keepers.append(tasks.create_task(self._watch()))
                await self._stopping.wait()
                for keeper in keepers:
                    keeper.cancel()
        finally:
            await self._drain()

    def _write_tree(self, config: Config) -> None:
        run = run_of(config, self._part)
        state_of(config, self._part).mkdir(mode=0o700, parents=True, exist_ok=True)
        target = tree_file(run)
        fresh = target.with_suffix(".new")
        fresh.write_text(config.model_dump_json())
        fresh.chmod(0o640)
        fresh.replace(target)

    async def _start_all(self) -> None:
        wanted = children(self._config, self._part)
        started = await asyncio.gather(*(self._start(child) for child in wanted))
        failed = [child.name for child, there in zip(wanted, started, strict=True) if not there]
        if failed:
            raise StartFailed(f"did not become ready: {', '.join(failed)}")

    async def _start(self, child: Child) -> bool:
        """Start a child and wait until it is ready. False if it ended or hung instead, or there was no room for it."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._entry(child, run_of(self._config, self._part)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment(self._config, child.kind, dict(os.environ)),
            )
        except (OSError, RuntimeError) as error:  # the latter for want of a thread, which asyncio starts to wait for the child
            _log.error("cannot_start", process=child.name, error=str(error))
            return False
        self._processes[child] = process
        if process.stdout is None:
            raise AssertionError("asked for a pipe")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_SECONDS)
        except TimeoutError:
            process.kill()
            return False
        if line.strip() != b"ready":
            return False
        self._observer.see(ProcessStarted(process=child.name))
        return True

    async def _keep(self, child: Child) -> None:
        """Restart a child whenever it ends, ever more slowly while it does not become ready."""
        pause = FIRST_RESTART_SECONDS
        while True:
            ended = self._processes[child]
            status = await ended.wait()
            self._observer.see(ProcessEnded(process=child.name, status=status))
            while self._processes[child] is ended:
                await asyncio.sleep(pause)
                pause = FIRST_RESTART_SECONDS if await self._start(child) else min(pause * 2, LONGEST_RESTART_SECONDS)

    async def _watch(self) -> None:
        """Reload when asked to, or when a file of the configuration changed and has come to rest."""
        changes = Changes(self._began_from)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reload.wait(), WATCH_SECONDS)
            try:
                await self._look(changes)
            except OSError as error:  # nothing ends for it: what runs has what it needs
                _log.error("configuration_not_taken", error=error.strerror)

    async def _look(self, changes: Changes) -> None:
        """Raises ``OSError`` where there is no room for what is new; it is taken at a later look."""
        now, before = await asyncio.to_thread(fingerprint, self._config, self._path), self._config
        if self._reload.is_set() or changes.at_rest(now):
            self._reload.clear()
            await self._take_new_configuration()
            # What changed while it was read is taken next time
            unchanged = fingerprint(before, self._path) == now
            changes.took(fingerprint(self._config, self._path) if unchanged else now)

    async def _take_new_configuration(self) -> None:
        """Check the files; if they are right, tell the children; if not, everything stays as it is."""
        try:
            fresh = await asyncio.to_thread(load, self._path, generation=self._config.generation + 1)
        except ConfigError as error:
            self._observer.see(ConfigurationRefused(mistakes=tuple(str(mistake) for mistake in error.mistakes)))
            for mistake in error.mistakes:
                _log.error("configuration_mistake", mistake=str(mistake))
            return
        if changed := needs_restart(self._began, fresh, self._part):
            _log.warning("restart_needed", changed=changed)
        fresh = lasting(self._began, fresh)
        self._write_tree(fresh)
        self._config = fresh
        for child, process in self._processes.items():
            # A key agent holds its keys and its login: it is replaced, its clients ask again. The others re-read the tree.
            self._signal(process, signal.SIGTERM if child.kind in AGENTS else signal.SIGHUP)
        self._observer.see(ConfigurationLoaded(generation=fresh.generation))

    @staticmethod
    def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    async def _drain(self) -> None:
        for kind in reversed(Kind):
            await asyncio.gather(*(self._end(process) for child, process in self._processes.items() if child.kind is kind))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), DRAIN_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
