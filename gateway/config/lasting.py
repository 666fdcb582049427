"""What of a configuration is taken at the start alone, and waits for a restart when a reload brings another."""

from __future__ import annotations

from typing import Final

from gateway.config.model import Config
from gateway.config.part import Part

# What our processes have agreed on at their start.
_LASTING: Final = ("state", "run", "agents", "processes")
# What those that speak with others take when they start, and never again.
_AT_START: Final = ("spool_key", "recovery_key", "audit_key", "metrics", "fetching")


def lasting(began: Config, fresh: Config) -> Config:
    """``fresh``, but for what our processes agreed on when they ``began``."""
    return fresh.model_copy(update={name: getattr(began, name) for name in _LASTING})


def needs_restart(began: Config, fresh: Config, part: Part) -> list[str]:
    """What of ``fresh`` a part that ``began`` with another configuration takes by a restart alone."""
    names = _LASTING if part is Part.KEYS else (*_LASTING, *_AT_START)
    changed = [name for name in names if getattr(began, name) != getattr(fresh, name)]
    if part is not Part.KEYS:
        before, after = ({name: (each.address, each.port) for name, each in at.listener.items()} for at in (began, fresh))
        changed += ["listener"] if before != after else []
        changed += ["limits.free_megabytes"] if began.limits.free_megabytes != fresh.limits.free_megabytes else []
    return changed
