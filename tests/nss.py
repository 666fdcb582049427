"""NSS softoken as a second token, by way of p11-kit: a database of its own, in a directory of its own.

Softoken wants parameters that PKCS#11 does not know, and gets them from the configuration of p11-kit. That one leaves the
configuration of users aside where root asks, so a server of p11-kit runs as nobody and is asked over its socket.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gateway.config.model import Secret, Token
from tests.pki import Issued
from tests.smime.openssl import openssl

LIBRARIES: Final = Path("/usr/lib/x86_64-linux-gnu")
SOFTOKEN: Final = LIBRARIES / "libsoftokn3.so"
CLIENT: Final = LIBRARIES / "pkcs11" / "p11-kit-client.so"
LABEL: Final = "NSS Certificate DB"
PIN: Final = "a-pin-of-nss"
_NOBODY: Final = 65534
_MODULE: Final = """
module: {softoken}
x-init-reserved: configdir='sql:{folder}/db' certPrefix='' keyPrefix='' secmod='secmod.db' flags=
critical: yes
"""


def missing() -> str:
    """What of it is not installed; "" where it is all there."""
    programs = [name for name in ("certutil", "pk12util", "p11-kit") if shutil.which(name) is None]
    return ", ".join([*programs, *(str(path) for path in (SOFTOKEN, CLIENT) if not path.exists())])


@contextmanager
def nss_token(**keys: Issued) -> Iterator[Token]:
    """A token that holds ``keys`` by label, for as long as its server runs."""
    with TemporaryDirectory(prefix="nss") as work:  # nobody must reach it, which is not so below pytest's own
        folder = Path(work)
        folder.chmod(0o755)
        modules = folder / ".config" / "pkcs11" / "modules"
        for each in (modules, folder / "db", folder / "run"):
            each.mkdir(parents=True)
        (modules / "nss.module").write_text(_MODULE.format(softoken=SOFTOKEN, folder=folder))
        (folder / "pin").write_text(PIN)
        _tool("certutil", "-N", "-d", f"sql:{folder}/db", "-f", folder / "pin")
        for label, issued in keys.items():
            bundle = folder / f"{label}.p12"
            bundle.write_bytes(
                openssl("pkcs12", "-export", "-name", label, "-passout", "pass:import", data=issued.key_pem + issued.pem)
            )
            _tool("pk12util", "-i", bundle, "-d", f"sql:{folder}/db", "-k", folder / "pin", "-W", "import")
        with _server(folder):
            where = {"P11_KIT_SERVER_ADDRESS": f"unix:path={folder}/run/nss.sock"}
            yield Token(module=CLIENT, label=LABEL, pin=Secret(file=folder / "pin"), environment=where)


@contextmanager
def _server(folder: Path) -> Iterator[None]:
    root = os.geteuid() == 0
    if root:
        for each in (folder, *folder.rglob("*")):
            os.chown(each, _NOBODY, _NOBODY)
    client = pwd.getpwuid(os.geteuid()).pw_name
    uri = f"pkcs11:token={LABEL.replace(' ', '%20')}"
    command = ["p11-kit", "server", "--foreground", "--user", client, "--name", str(folder / "run" / "nss.sock"), uri]
    process = subprocess.Popen(
        command,
        env={**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        user=_NOBODY if root else None,
        extra_groups=[] if root else None,
    )
    try:
        assert process.stdout is not None
        assert b"P11_KIT_SERVER_ADDRESS" in process.stdout.readline(), "the server of p11-kit did not start"
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _tool(*arguments: str | Path) -> None:
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
