"""A client of Marionette, by which Mozilla's programs are driven: one socket, JSON messages with their length before them.

[0, number, command, parameters] is answered by [1, number, error, result].
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

_PATIENCE: Final = 30


class Failed(Exception):
    """The program answers a command with an error. The text is its own."""


class Marionette:
    """One session, whose scripts run with the program's own rights."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=2 * _PATIENCE)
        self._file = self._socket.makefile("rwb")
        self._number = 0
        self._read()  # its greeting
        self._command("WebDriver:NewSession", capabilities={})
        self._command("Marionette:SetContext", value="chrome")
        self._command("WebDriver:SetTimeouts", script=_PATIENCE * 1000)

    def run(self, script: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
        """What ``script`` gives back: the body of an asynchronous function, with ``arguments``. Raises :class:`Failed`."""
        # A script ends by calling the function that is its last argument
        wrapped = (
            "const given = Array.from(arguments), done = given.pop();"
            f"(async (...arguments) => {{ {script} }})(...given)"
            ".then(value => done({value}), error => done({error: `${error}`}));"
        )
        answer = self._command("WebDriver:ExecuteAsyncScript", script=wrapped, args=list(arguments), newSandbox=True)["value"]
        if "error" in answer:
            raise Failed(answer["error"])
        return answer.get("value")

    def quit(self) -> None:
        """Ends the program."""
        self._command("Marionette:Quit", flags=["eForceQuit"])
        self._socket.close()

    def _command(self, name: str, **parameters: Any) -> Any:  # noqa: ANN401
        self._number += 1
        data = json.dumps([0, self._number, name, parameters]).encode()
        self._file.write(b"%d:%b" % (len(data), data))
        self._file.flush()
        _, _, error, result = self._read()
        if error is not None:
            raise Failed(f"{error['error']}: {error['message']}")
        return result

    def _read(self) -> Any:  # noqa: ANN401
        length = b""
        while (octet := self._file.read(1)) != b":":
            if not octet:
                raise Failed("the program is gone")
            length += octet
        return json.loads(self._file.read(int(length)))
