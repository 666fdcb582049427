"""Where the CPU time of a mail goes, by the parts of the gateway: py-spy samples all its processes while mails pass."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from bench.contest import SESSIONS, SIZE, WARM_UP
from bench.gatewayside import gateway, pid_of
from bench.load import PATIENCE, measure, sink

HERTZ: Final = 200

# The beginning of a file's path, and the part it belongs to; the first that fits. What no line names is the event loop's.
PARTS: Final = (
    ("gateway/receive/", "SMTP in"),
    ("gateway/smtp/command", "SMTP in"),
    ("gateway/smtp/data", "SMTP in"),
    ("gateway/smtp/reply", "SMTP in"),
    ("gateway/smtp/", "SMTP out"),
    ("gateway/edge/smtp", "SMTP out"),
    ("gateway/edge/deadline", "SMTP in"),
    ("gateway/deliver/", "SMTP out"),
    ("gateway/smime/", "S/MIME: CMS, content cipher, digests"),
    ("gateway/trust/", "evidence about certificates"),
    ("gateway/edge/agentclient", "asking the key agent"),
    ("gateway/edge/keywire", "asking the key agent"),
    ("gateway/edge/tosign", "asking the key agent"),
    ("gateway/mail/", "MIME and headers"),
    ("gateway/flow/", "flow and policy"),
    ("gateway/policy/", "flow and policy"),
    ("gateway/worker", "flow and policy"),
    ("gateway/spool/", "spool: rows, bodies, encryption at rest"),
    ("gateway/database/", "spool: rows, bodies, encryption at rest"),
    ("gateway/edge/observe", "audit and metrics"),
    ("gateway/operate/audit", "audit and metrics"),
    ("gateway/edge/counting", "audit and metrics"),
    ("gateway/edge/keyagent", "key agent and token"),
    ("gateway/edge/keyring", "key agent and token"),
    ("gateway/edge/pkcs11", "key agent and token"),
    ("gateway/edge/tokensession", "key agent and token"),
)
LOOP: Final = "event loop, sockets, the rest"

# Where a thread can only wait; py-spy takes some of them for busy
_WAITING: Final = (
    "_worker (concurrent/",
    "EpollSelector.select (",
    "end_with_supervisor.",
    "ThreadedChildWatcher.",
    "Condition.wait (",
)

Parts = Sequence[tuple[str, str]]


class NotAllowed(Exception):
    """The system does not let us look into a process (ptrace)."""


def part_of(stack: str, parts: Parts = PARTS, rest: str = LOOP) -> str:
    """The part a sample belongs to: that of its innermost frame that has one. ``stack`` is a line of py-spy's raw form, in which
    a frame is ``function (file:line)``; ``parts`` are beginnings of it, from the function or from the file on.
    """
    for frame in reversed(stack.split(";")):
        for beginning, part in parts:
            if beginning in frame:
                return part
    return rest


def shares(lines: Iterable[str], parts: Parts = PARTS, rest: str = LOOP) -> dict[str, float]:
    """The share of each part, largest first, of what py-spy wrote in its raw form."""
    samples: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if not stack.rpartition(";")[2].startswith(_WAITING):
            samples[part_of(stack, parts, rest)] += int(count)
    whole = samples.total()
    return {part: count / whole for part, count in samples.most_common()}


def profile(rule: str, messages: int) -> dict[str, float]:
    """The shares while ``messages`` pass by ``rule``. Raises :class:`NotAllowed`."""
    with sink() as far, gateway(far.port, rule) as site:
        pid = pid_of(site)
        measure(pid, site.inside, far, messages=min(messages, WARM_UP), size=SIZE, sessions=SESSIONS)
        return sampled(pid, lambda: measure(pid, site.inside, far, messages=messages, size=SIZE, sessions=SESSIONS))


def sampled(pid: int, work: Callable[[], object], parts: Parts = PARTS, rest: str = LOOP) -> dict[str, float]:
    """The shares of a process and its children while ``work`` is done. Raises :class:`NotAllowed`."""
    with tempfile.NamedTemporaryFile(prefix="gateway-profile-") as out:
        spy = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("py-spy")),
                "record",
                "--subprocesses",
                "-r",
                str(HERTZ),
                "-f",
                "raw",
                "-o",
                out.name,
                "-p",
                str(pid),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = spy.stdout.readline() if spy.stdout else ""
        work()
        if spy.poll() is None:
            spy.send_signal(signal.SIGINT)
        said += spy.communicate(timeout=PATIENCE)[0]
        lines = Path(out.name).read_text().splitlines()
        if not lines:
            raise NotAllowed(said)
        return shares(lines, parts, rest)
