"""A supervisor in a process of its own, over children that only note what happens to them: ``python -m tests.supervised``.

Arguments: the configuration, the file to note in, and NAME=SECONDS for times of :mod:`gateway.supervise` that a test shortens.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from gateway import supervise
from gateway.events import Event

# A child notes its start, its signals and its end. Files beside the notes, NAME.fails, NAME.mute and NAME.deaf, make it a bad one.
CHILD = """
import json, os, signal, sys, time
name, run, notes = sys.argv[1:4]
folder = os.path.dirname(notes)
file = os.open(notes, os.O_WRONLY | os.O_APPEND)

def note(what, **more):
    os.write(file, json.dumps({"at": time.monotonic(), "who": name, "what": what, **more}).encode() + b"\\n")

def told(behaviour):
    return os.path.exists(os.path.join(folder, name + "." + behaviour))

def generation():
    with open(os.path.join(run, "config.json")) as tree:
        return json.load(tree)["generation"]

def end(*_):
    note("term")
    if not told("deaf"):
        time.sleep(0.1)
        note("end")
        sys.exit(0)

def reload(*_):
    note("hup", generation=generation())

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, reload)
note("start", generation=generation(), pid=os.getpid(), environment=sorted(os.environ))
if told("fails"):
    sys.exit(3)
if not told("mute"):
    print("ready", flush=True)
while True:
    signal.pause()
"""


class Notes:
    """An observer that writes into the same file, and what the test reads it by."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def see(self, event: Event, /) -> None:
        self.write(what=type(event).__name__, **asdict(event))

    def write(self, **facts: object) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"at": time.monotonic(), "who": "supervisor", **facts}) + "\n")


def main() -> None:
    configuration, notes = Path(sys.argv[1]), Path(sys.argv[2])
    vars(supervise).update({name: float(text) for name, _, text in (word.partition("=") for word in sys.argv[3:])})
    observer = Notes(notes)

    def entry(child: supervise.Child, run: Path) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", CHILD, child.name, str(run), str(notes)]

    try:
        asyncio.run(supervise.Supervisor(configuration, observer, entry).run(lambda: observer.write(what="ready")))
    except supervise.StartFailed as error:
        observer.write(what="failed", text=str(error))
        sys.exit(3)


if __name__ == "__main__":
    main()
