"""Who may read and change the files of a configuration: whether they keep apart what ``[agents]`` keeps apart."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.config.model import Config


def exposed(config: Config, path: Path) -> Iterator[str]:
    """What lets the user that [agents] keeps from the keys get at them all the same. ``path`` is the configuration."""
    if config.agents is None:
        return
    name = config.agents.serve
    secrets = [key.passphrase for key in config.key.values()] + ([config.token.pin] if config.token is not None else [])
    files = [secret.file for secret in secrets if secret is not None] + [key.file for key in config.key.values()]
    for file in dict.fromkeys(each for each in files if each is not None):
        if may(name, file, os.R_OK):
            yield f"{name} may read {file}, which is for {config.agents.user} alone"
    for place in (path, path.parent, *([config.token.module] if config.token is not None else [])):
        if may(name, place, os.W_OK):
            yield f"{name} may change {place}, and so what the key agents load"


def open_to_all(config: Config) -> Iterator[str]:
    """Secrets that every user of this host may read, whoever the gateway runs as."""
    named = [key.passphrase for key in config.key.values()] + ([config.token.pin] if config.token is not None else [])
    named += [route.password for route in config.route.values()] + [each.password for each in config.directory.values()]
    files = [secret.file for secret in named if secret is not None] + [key.file for key in config.key.values()]
    files += [identity.key for identity in config.tls.values()]
    files += [client.users.file for client in config.client.values() if client.users is not None]
    for file in dict.fromkeys(each for each in files if each is not None):
        if _anybody_reads(file):
            yield f"every user of this host may read {file}"


def _anybody_reads(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH) and all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    except OSError:
        return False


def unseen(config: Config) -> Iterator[str]:
    """What could not be checked, since it is closed to the user of this command."""
    for name, identity in config.tls.items():
        if not os.access(identity.key, os.R_OK):
            yield f"tls.{name}: its key is closed to the user of this command, and was not looked at"


def may(name: str, path: Path, access: int) -> bool:
    """Whether the user ``name`` has ``access`` (``os.R_OK``, ``os.W_OK``) to ``path``, or can give it to himself: by its mode and
    those of the directories above it, or because they are his. False where we cannot look.
    """
    entry = pwd.getpwnam(name)
    groups = os.getgrouplist(name, entry.pw_gid)
    try:
        wanted = [(path.stat(), access), *((folder.stat(), os.X_OK) for folder in path.parents)]
    except OSError:
        return False
    for facts, bit in wanted:
        shift = 3 if facts.st_gid in groups else 0
        if facts.st_uid != entry.pw_uid and not facts.st_mode >> shift & bit:
            return False
    return True
