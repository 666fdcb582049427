"""A private OpenLDAP server on loopback: its own configuration and database below one directory, stopped by its own process id."""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from demo.ports import free_port

BASE: Final = "dc=directory,dc=example"
ADMIN: Final = f"cn=admin,{BASE}"
PASSWORD: Final = "test-directory"

CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
{schema}pidfile {home}/slapd.pid
argsfile {home}/slapd.args
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
{settings}database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {home}/data
"""


def slapd_program() -> str | None:
    """Where slapd is, or None where it is not installed."""
    return shutil.which("slapd", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@dataclass
class Slapd:
    """``certificate`` (leaf first) and ``key`` are PEM files of the server, which answers on ``uri`` (StartTLS too) and
    ``secure_uri``; it holds what is below ``base``, and knows ``schema`` and ``settings`` (slapd.conf(5)) besides.

    Use as a context manager, or ``start`` and ``stop``. Entries go below BASE; ADMIN and PASSWORD bind.
    """

    home: Path
    certificate: Path
    key: Path
    port: int = 0
    secure_port: int = 0
    base: str = BASE
    schema: str = ""
    settings: str = ""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def secure_uri(self) -> str:
        return f"ldaps://localhost:{self.secure_port}"

    @property
    def admin(self) -> str:
        """Who may write."""
        return f"cn=admin,{self.base}"

    def start(self) -> None:
        """Starts with a directory that holds no more than BASE, or nothing below another ``base``; returns when it answers."""
        program = slapd_program()
        if program is None:
            raise RuntimeError("slapd is not installed")
        (self.home / "data").mkdir(parents=True, exist_ok=True)
        configuration = self.home / "slapd.conf"
        configuration.write_text(
            CONFIGURATION.format(
                home=self.home,
                schema=self.schema,
                settings=self.settings,
                certificate=self.certificate,
                key=self.key,
                base=self.base,
                admin=self.admin,
                password=PASSWORD,
            )
        )
        configuration.chmod(0o600)
        self.port, self.secure_port = free_port(), free_port()
        places = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.secure_port}"
        with (self.home / "log").open("wb") as log:
            # -d keeps it in the foreground: its process id is the one we hold.
            self._process = subprocess.Popen([program, "-d", "none", "-f", configuration, "-h", places], stdout=log, stderr=log)
        self._wait()
        if self.base != BASE:
            return
        try:
            self.add(f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: directory\no: Directory\n")
        except subprocess.SubprocessError:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the process that was started, and no other."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def add(self, ldif: str) -> None:
        """Adds entries, with ldapadd."""
        command = ["ldapadd", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", self.admin, "-w", PASSWORD]
        subprocess.run(command, input=ldif.encode(), check=True, capture_output=True, timeout=20)

    def add_person(self, name: str, mail: str, certificates: Sequence[bytes] = (), bundles: Sequence[bytes] = ()) -> None:
        """A person with userCertificate;binary values (DER) and userSMIMECertificate values (PKCS#7). ``name`` is plain ASCII."""
        lines = [f"dn: cn={name},{BASE}", "objectClass: inetOrgPerson", f"cn: {name}", f"sn: {name}"]
        lines.append(f"mail:: {base64.b64encode(mail.encode()).decode()}")
        lines += [f"userCertificate;binary:: {base64.b64encode(certificate).decode()}" for certificate in certificates]
        lines += [f"userSMIMECertificate:: {base64.b64encode(bundle).decode()}" for bundle in bundles]
        self.add("\n".join(lines) + "\n")

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            process = self._process
            if process is None or process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("slapd did not start:\n" + (self.home / "log").read_text(errors="replace"))
            time.sleep(0.02)  # a daemon of another make has no event to await

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
