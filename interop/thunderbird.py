"""Thunderbird, headless, with a profile of its own, driven from inside: what it shows of a message, what it composes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from demo.ports import free_port
from interop.case import Case, Form, Management, Scheme, Twist
from interop.command import run
from interop.database import bundle
from interop.letter import SUBJECT, TEXT
from interop.marionette import Failed, Marionette
from interop.peer import NotOffered, Refused
from interop.people import PASSPHRASE, People
from tests.system.postfix import await_port

_SCRIPT: Final = (Path(__file__).parent / "thunderbird.js").read_text()
_SUCCESS: Final = "SUCCESS"
_PREFERENCES: Final = {
    "mail.provider.suppress_dialog_on_startup": True,
    "mailnews.start_page.enabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    # Whatever it would fetch or tell anybody goes to a port of loopback where nobody listens
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_port": 9,
    "network.proxy.socks_remote_dns": True,
}


class Thunderbird:
    """A :class:`interop.peer.Peer`."""

    name = "Thunderbird"

    def __init__(self, folder: Path, people: People) -> None:
        self._people = people
        self._message = folder / "shown.eml"
        home, port = folder / "thunderbird", free_port()
        profile = home / "profile"
        profile.mkdir(parents=True)
        preferences = {**_PREFERENCES, "marionette.port": port}
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items())
        (profile / "user.js").write_text("".join(lines))
        command = ["thunderbird", "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile"]
        environment = {**os.environ, "HOME": str(home)}
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen([*command, str(profile)], stdout=log, stderr=log, env=environment)
        try:
            await_port(port, self._process, seconds=60)
            self._inside = Marionette(port)
        except BaseException:
            self._process.kill()
            raise
        bundles = [str(bundle(folder, person)) for person in people.everybody]
        self._ask("prepare", base64.b64encode(people.ca.der).decode(), bundles, PASSPHRASE)

    @property
    def version(self) -> str:
        """As it says."""
        return run("thunderbird", "--version").decode().split()[-1]

    def close(self) -> None:
        """Ends it."""
        self._inside.quit()
        self._process.wait(timeout=30)

    def open(self, case: Case, message: bytes) -> bytes:
        """See :class:`interop.peer.Peer`."""
        self._message.write_bytes(message)
        said = self._ask("show", str(self._message))
        wrong = [
            f"{what} status {said[what] or 'none'}"
            for what, wanted in (("encryption", case.encryption), ("signature", case.signing))
            if said[what] != ("" if wanted is None else _SUCCESS)
        ]
        if wrong:
            shown = "" if said["text"] else f", {said['page'] or 'an empty message is shown'}"
            raise Refused(", ".join(wrong) + shown)
        text: str = said["text"]
        subject: str = said["subject"]
        if case.twist is Twist.PROTECTED and subject != SUBJECT:
            raise Refused(f"the Subject shown is {subject}")
        head = f"Subject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        return (head + text).encode()

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:  # noqa: ARG002 - it composes by itself
        """See :class:`interop.peer.Peer`. Who it is from and to is the case's, and its text that of every letter."""
        signing, encryption = case.signing, case.encryption
        if case.around is not None or (signing is not None and (signing.form is Form.OPAQUE or signing.scheme is Scheme.PSS)):
            raise NotOffered("composes neither")
        if encryption is not None and (encryption.cipher is not encryption.of_nss or Management.OAEP in encryption.readers):
            raise NotOffered("composes none of them")
        readers = [reader.address for reader in (self._people.reading(encryption) if encryption else ())]
        try:
            written: str = self._ask(
                "compose",
                self._people.signer(signing).address,
                readers,
                SUBJECT,
                TEXT.encode().decode("latin-1"),  # it wants octets
                signing is not None,
            )
        except Failed as error:
            raise Refused(str(error)) from error
        return base64.b64decode(written)

    def _ask(self, function: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
        return self._inside.run(f"{_SCRIPT}\nreturn {function}(...arguments);", *arguments)
