"""What a fault of the disk or of the database means for a mail."""

from __future__ import annotations

import errno
from typing import Final

import apsw

from gateway.outcome import GatewayError, Reason

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def fault(error: OSError | apsw.Error) -> GatewayError:
    """SPOOL_FULL where space ran out, SPOOL_UNAVAILABLE otherwise. Neither text holds anything of a mail."""
    if isinstance(error, OSError):
        reason = Reason.SPOOL_FULL if error.errno in _FULL else Reason.SPOOL_UNAVAILABLE
        return GatewayError(reason, error.strerror or type(error).__name__)
    reason = Reason.SPOOL_FULL if isinstance(error, apsw.FullError) else Reason.SPOOL_UNAVAILABLE
    return GatewayError(reason, f"{type(error).__name__}: {error}")
