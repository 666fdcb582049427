"""The entry point of every process but the supervisor: ``python -m gateway.operate.process KIND INDEX RUN``.

Reads the checked configuration from the run directory, says ``ready`` on standard output, works until SIGTERM or until its
supervisor is gone (its standard input ends), and takes the configuration anew on SIGHUP. Each kind loads its own modules alone:
a process that knows the PIN has no code in it that speaks HTTP, LDAP or SMTP.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from gateway.edge.clock import now
from gateway.edge.counting import CounterReports, control_socket
from gateway.edge.observe import Audit, Observe, configure_logging
from gateway.outcome import GatewayError
from gateway.supervise import AGENTS, Child, Kind, agent_socket, read_tree

FAILED: Final = 3  # the exit status of a process that could not begin, as of the commands


def keep_quiet() -> Callable[[], None]:
    """What tells the supervisor that we are ready. From now on standard output is standard error: he hears one line of us and reads
    no other, so what a token's module prints would be taken for that line, or fill the pipe and stop us.
    """
    supervisor = os.dup(1)
    os.dup2(2, 1)

    def ready() -> None:
        os.write(supervisor, b"ready\n")

    return ready


def run_in_batch() -> None:
    """Have this process and its threads wait their turn when they are woken: SCHED_BATCH of sched(7).

    Our processes and the threads in them wake each other a dozen times for each mail. Each time the woken would cut short
    whoever runs, which is mostly one of us, in the middle of a piece of work (docs/decisions/0012).
    """
    with contextlib.suppress(OSError):  # a sandbox may forbid it, and all works as well, only slower
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def end_with_supervisor() -> None:
    """Terminate this process when standard input ends: however the supervisor died, nobody is left behind."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()


def run(child: Child, run_directory: Path, observer: Observe, ready: Callable[[], None]) -> int:
    """Be ``child`` until it ends; ``ready`` is called once it can do its work. Answers the exit status."""
    match child.kind:
        case Kind.WORKER:
            from gateway.operate.mailprocess import run_worker

            return run_worker(run_directory, observer, ready)
        case Kind.CONTROL:
            from gateway.operate.controlprocess import run_control

            return run_control(run_directory, observer, ready)
        case Kind.SIGN_AGENT | Kind.UNWRAP_AGENT:
            from gateway.edge.keyagent import run_sign_agent, run_unwrap_agent

            config = read_tree(run_directory)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            main_of_kind = run_sign_agent if child.kind is Kind.SIGN_AGENT else run_unwrap_agent
            return main_of_kind(config, agent_socket(run_directory, child), observer, ready)


def main() -> None:
    """Parse the three arguments and run."""
    child, run_directory = Child(Kind(sys.argv[1]), int(sys.argv[2])), Path(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all of us; the supervisor alone answers it
    configure_logging(child.name)
    ready = keep_quiet()
    run_in_batch()
    end_with_supervisor()
    config = read_tree(run_directory)
    state = config.key_state if child.kind in AGENTS else config.state
    observer = Observe(Audit(state / "audit", child.name, now))
    try:
        with CounterReports(control_socket(config.run), child.name, observer, now):
            sys.exit(run(child, run_directory, observer, ready))
    except (GatewayError, OSError, ValueError) as error:
        # The administrator's own text: what is missing, and how to list what is there.
        structlog.get_logger().error("cannot_start", error=str(error))
        sys.exit(FAILED)
    finally:
        observer.close()


if __name__ == "__main__":
    main()
