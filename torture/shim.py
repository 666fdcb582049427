"""Makes the disk and the clock of a gateway fail, from outside: a C library preloaded into all its processes, and flag files."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

_SOURCE: Final = Path(__file__).with_name("shim.c")


class Fault(StrEnum):
    """What can be made to fail; each is a flag file, explained in ``shim.c``."""

    FSYNC = "fsync"
    FULL = "full"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Shim:
    """The built library and the folder of flags."""

    library: Path
    flags: Path

    @classmethod
    def build(cls, folder: Path) -> Self:
        """Compile it into ``folder``. Raises ``subprocess.CalledProcessError``."""
        library = folder / "shim.so"
        words = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(words, check=True)
        return cls(library, folder / "flags")

    def environment(self, site: str) -> dict[str, str]:
        """What the gateway ``site`` is started with."""
        (self.flags / site).mkdir(parents=True, exist_ok=True)
        return {"LD_PRELOAD": str(self.library), "TORTURE_FLAGS": str(self.flags / site)}

    def set(self, site: str, fault: Fault, value: int = 1) -> None:
        """From now on it fails so; 0 heals it."""
        flag = self.flags / site / fault
        fresh = flag.with_suffix(".new")
        fresh.write_text(str(value))
        fresh.replace(flag)
