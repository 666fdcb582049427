"""A SoftHSM token of one's own, in a directory of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.config.model import Secret, Token
from gateway.edge.tokensetup import KeyKind, KeyUse, administer, create_token

MODULE: Final = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN: Final = "482913"


def new_token(folder: Path, label: str = "hospital") -> Token:
    """A fresh token whose PIN lies in ``folder/pin``."""
    (folder / "tokens").mkdir(parents=True)
    (folder / "pin").write_text(PIN + "\n")
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    token = Token(module=MODULE, label=label, pin=Secret(file=folder / "pin"), environment={"SOFTHSM2_CONF": str(conf)})
    create_token(token, PIN, "9" + PIN)
    return token


def generate(token: Token, folder: Path, **keys: tuple[KeyKind, KeyUse]) -> dict[str, bytes]:
    """Key pairs by label (``_`` stands for ``-``), and their public keys (DER SubjectPublicKeyInfo)."""
    with administer(token, folder / "keys") as administration:
        return {
            name.replace("_", "-"): administration.generate(name.replace("_", "-"), kind, use) for name, (kind, use) in keys.items()
        }
