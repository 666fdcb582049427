"""A process whose event loop stands still is ended by the kernel, so that its supervisor starts it again.

What hangs in C, perhaps with the interpreter's lock in its hand, answers no signal that Python handles and lets no thread of ours
run. SIGALRM, which nobody handles, ends it all the same (setitimer(2), signal(7)).
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

HUNG_SECONDS: Final = 100.0  # less than a lease: that a worker ended is counted against the mail that it hung on


def keep_beating() -> None:
    """From now on this process ends by SIGALRM where its event loop, which runs this, has not run for ``HUNG_SECONDS``; also where
    the loop has ended and the process has not.
    """
    signal.setitimer(signal.ITIMER_REAL, HUNG_SECONDS)
    asyncio.get_running_loop().call_later(HUNG_SECONDS / 4, keep_beating)
