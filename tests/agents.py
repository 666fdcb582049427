"""Key agents as processes of their own, started and ended by a test."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gateway.config.model import Config, Key, KeyPurpose, KeyStore, Token
from gateway.edge.keyagent import run_sign_agent, run_unwrap_agent
from gateway.events import Event

_SPAWN = multiprocessing.get_context("spawn")


def key_config(folder: Path, token: Token | None, keys: dict[str, KeyPurpose], files: dict[str, Path] | None = None) -> Config:
    """As much of a configuration as an agent reads."""
    sections = {
        name: Key.model_construct(
            purpose=purpose,
            store=KeyStore.FILE if files and name in files else KeyStore.TOKEN,
            file=(files or {}).get(name),
            passphrase=None,
        )
        for name, purpose in keys.items()
    }
    parts: dict[str, Any] = {"state": folder, "run": folder, "token": token, "key": sections}
    return Config.model_construct(**parts)


class _ToFile:
    """An observer that writes a line for each event."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def see(self, event: Event, /) -> None:
        self._file.write(json.dumps({"event": type(event).__name__, **asdict(event)}) + "\n")
        self._file.flush()


def _main(sign: bool, config: Config, path: Path, events: Path, ready: Callable[[], None]) -> None:
    run = run_sign_agent if sign else run_unwrap_agent
    raise SystemExit(run(config, path, _ToFile(events), ready))


@dataclass
class Agents:
    """Starts agents under a folder; ends those that are left."""

    folder: Path
    config: Config
    processes: dict[str, BaseProcess] = field(default_factory=dict)

    def start(self, name: str, *, sign: bool) -> Path:
        """An agent that is ready, or an AssertionError. Its socket."""
        path, ready = self.folder / f"{name}.sock", _SPAWN.Event()
        process = _SPAWN.Process(target=_main, args=(sign, self.config, path, self.folder / "events", ready.set))
        process.start()
        self.processes[name] = process
        while not ready.wait(0.05):
            assert process.is_alive(), f"{name} ended with {process.exitcode}"
        return path

    def fails(self, name: str, *, sign: bool) -> bool:
        """Whether an agent does not start."""
        try:
            self.start(name, sign=sign)
        except AssertionError:
            return True
        return False

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.join()

    def stop(self, name: str) -> int | None:
        process = self.processes.pop(name)
        process.terminate()
        process.join()
        return process.exitcode

    def events(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.folder / "events").read_text().splitlines()]

    def close(self) -> None:
        for name in tuple(self.processes):
            self.kill(name)
