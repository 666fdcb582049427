"""Does harm to the running gateways, one act after another, drawn from a seed; every act is on record with its two ends in time."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import psutil

from demo.site import Site
from torture.shim import Fault
from torture.sink import Manner
from torture.world import NeverHappened, World, kill_whole, processes, until

PATIENCE: Final = 60.0  # seconds for a process to end or to be there
_DAY: Final = 86400


@dataclass(frozen=True, slots=True)
class Act:
    """One harm. ``where``: the site or the far end; ``begin`` and ``end`` (healed): seconds of our clock."""

    what: str
    where: str
    begin: float
    end: float


@dataclass
class Saboteur:
    """``longest``: seconds that a fault lasts at most; ``pause``: seconds that a stopped process sleeps."""

    world: World
    seed: int
    longest: float
    pause: float
    say: Callable[[str], None]
    acts: list[Act] = field(default_factory=list)

    def run(self, over: threading.Event) -> None:
        """Act until ``over``: all harms once, in an order drawn from the seed, then all again in another."""
        chance = random.Random(self.seed)  # noqa: S311 - the same acts in every run
        harms = self._harms()
        while True:
            for name in chance.sample(sorted(harms), len(harms)):
                site, seconds = chance.choice(self.world.sites), chance.uniform(0.5, self.longest)
                if over.wait(chance.uniform(0.1, 1.0)):
                    return
                self._do(name, site, harms[name], seconds)

    def _do(self, name: str, site: Site, harm: Callable[[Site, float], None], seconds: float) -> None:
        begin = time.time()
        harm(site, seconds)
        self.acts.append(Act(name, site.name, begin, time.time()))
        self.say(f"{name} at {site.name}, {time.time() - begin:.1f} s")

    def _harms(self) -> dict[str, Callable[[Site, float], None]]:
        kinds = ("worker", "sign-agent", "unwrap-agent", "control")
        harms: dict[str, Callable[[Site, float], None]] = {}
        for kind in kinds:
            harms[f"kill {kind}"] = lambda site, _, kind=kind: kill(site, kind)  # type: ignore[misc]
            harms[f"pause {kind}"] = lambda site, _, kind=kind: pause(site, kind, self.pause)  # type: ignore[misc]
        for fault, value in ((Fault.FSYNC, 1), (Fault.FULL, 1), (Fault.CLOCK, _DAY), (Fault.CLOCK, -_DAY)):
            harms[f"{fault} {value}"] = lambda site, seconds, fault=fault, value=value: self._fail(site, fault, value, seconds)  # type: ignore[misc]
        for manner in (Manner.AWAY, Manner.CUTS_DATA, Manner.SILENT):
            harms[f"far end {manner}"] = lambda _, seconds, manner=manner: self._misbehave(manner, seconds)  # type: ignore[misc]
        harms["kill supervisor"] = lambda site, _: self._kill_supervisor(site)
        harms["kill whole gateway"] = lambda site, _: self._kill_whole(site)
        harms["gateway stopped"] = self._stop
        harms["token away"] = take_token
        return harms

    def _fail(self, site: Site, fault: Fault, value: int, seconds: float) -> None:
        self.world.shim.set(site.name, fault, value)
        time.sleep(seconds)
        self.world.shim.set(site.name, fault, 0)

    def _misbehave(self, manner: Manner, seconds: float) -> None:
        ends = (self.world.near, self.world.far)
        for end in ends:
            end.manner = manner
        time.sleep(seconds)
        for end in ends:
            end.manner = Manner.GOOD

    def _kill_supervisor(self, site: Site) -> None:
        if site.process is None:
            raise NeverHappened(f"{site.name} runs")
        orphans = processes(site)
        site.process.kill()
        site.process.wait(PATIENCE)
        if site.process.stdout is not None:
            site.process.stdout.close()
        site.process = None
        _, alive = psutil.wait_procs(orphans, timeout=PATIENCE)
        if alive:
            raise NeverHappened(f"the orphans of {site.name} end by themselves")
        self.world.start(site)

    def _kill_whole(self, site: Site) -> None:
        kill_whole(site)
        self.world.start(site)

    def _stop(self, site: Site, seconds: float) -> None:
        status = site.stop()
        if status:
            raise NeverHappened(f"{site.name} ends with 0, not {status}")
        time.sleep(seconds)
        self.world.start(site)


def kill(site: Site, kind: str) -> None:
    """SIGKILL of one process of that kind."""
    victim = until(lambda: processes(site, kind), f"a {kind} of {site.name}", PATIENCE)[0]
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()


def pause(site: Site, kind: str, seconds: float) -> None:
    """SIGSTOP of one process of that kind, and SIGCONT ``seconds`` later."""
    victim = until(lambda: processes(site, kind), f"a {kind} of {site.name}", PATIENCE)[0]
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        victim.send_signal(signal.SIGCONT)


def take_token(site: Site, seconds: float) -> None:
    """SoftHSM's directory is moved away, and the agents that have it open are killed; then it is put back."""
    tokens = site.folder / "state" / "tokens"
    away = site.folder / "tokens-away"
    shutil.move(tokens, away)
    try:
        for kind in ("sign-agent", "unwrap-agent"):
            for agent in processes(site, kind):
                with contextlib.suppress(psutil.NoSuchProcess):
                    agent.kill()
        time.sleep(seconds)
    finally:
        if tokens.exists():  # SoftHSM makes an empty one where it finds none
            shutil.rmtree(tokens)
        shutil.move(away, tokens)
