"""What dead processes left: leases are taken back, bodies that no row names are deleted."""

from __future__ import annotations

import contextlib
from functools import partial

from gateway.database.thread import Database, Effect
from gateway.spool import leases, rows
from gateway.spool.files import BodyFiles, owner_of
from gateway.spool.owners import Owners


def settle_dead(database: Database, owners: Owners, files: BodyFiles) -> None:
    """Settle the estate of every process that died, unless another process is at it.

    Blocks on disk and database. Raises ``GatewayError`` (SPOOL_UNAVAILABLE, SPOOL_FULL) and ``OSError``.
    """
    suspects = {*owners.known(), *database.call(leases.owners, Effect.READ)}
    for estate in owners.take_dead(suspects):
        done = False
        try:
            database.call(partial(leases.reclaim, owner=estate.owner), Effect.CHANGE)
            sweep(database, owners, files, dead=estate.owner)
            done = True
        finally:
            estate.settle(done=done)


def sweep(database: Database, owners: Owners, files: BodyFiles, dead: str = "") -> None:
    """Delete the bodies no row names whose writers are gone, ``dead`` among them; and epochs nobody needs.

    A body that a living process wrote may be about to be named. Blocks and raises as :func:`settle_dead`.
    """
    for names in files.names():
        # Asked after the names were read: a writer shows that it lives before its first body is there.
        living = {*owners.known(), owners.own} - {dead}
        strays = [name for name in names if owner_of(name) not in living]
        if strays:
            for orphan in database.call(partial(rows.unnamed, bodies=strays), Effect.READ):
                with contextlib.suppress(FileNotFoundError):
                    files.delete(orphan)
    database.call(rows.forget_epochs, Effect.CHANGE)
