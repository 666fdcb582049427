"""What a site does today: Postfix, and a pipe filter that calls ``openssl cms -sign | openssl cms -encrypt`` for each mail.

Two of them. The one Postfix documents hands its result back by sendmail(1). The lean one is the cheapest we could think of: no
temporary file, and bash itself speaks SMTP to the port that takes the result back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from demo.ports import free_port
from tests.system.postfix import Postfix, await_port

_OPENSSL = (
    "openssl cms -sign -signer {home}/signer.pem -inkey {home}/signer.key 2>/dev/null"
    " | openssl cms -encrypt -aes256 {home}/recipient.pem"
)

# After "Simple content filter example" of Postfix's FILTER_README: a temporary file, exit codes of sysexits.h, sendmail -G -i.
_DOCUMENTED = (
    """\
#!/bin/sh
sender=$1 recipient=$2
file=$(mktemp /tmp/filter.XXXXXX) || exit 75
trap 'rm -f "$file"' 0 1 2 3 15
{{ printf 'From: %s\\nTo: %s\\n' "$sender" "$recipient"
   """
    + _OPENSSL
    + """; }} >"$file" || exit 75
/usr/sbin/sendmail -G -i -f "$sender" -- "$recipient" <"$file"
"""
)

_LEAN = (
    """\
#!/bin/bash
set -eu
sender=$1 recipient=$2
exec 3<>/dev/tcp/127.0.0.1/{port}
say() {{ printf '%s\\r\\n' "$1" >&3; read -r answer <&3; }}
read -r answer <&3
say "HELO filter"
say "MAIL FROM:<$sender>"
say "RCPT TO:<$recipient>"
say "DATA"
printf 'From: %s\\r\\nTo: %s\\r\\n' "$sender" "$recipient" >&3
"""
    + _OPENSSL
    + """ | sed 's/\\r*$/\\r/' >&3
say "."
say "QUIT"
"""
)


class Filter(Enum):
    """Which of the two."""

    DOCUMENTED = _DOCUMENTED
    LEAN = _LEAN


@contextlib.contextmanager
def pipe_filter(folder: Path, sink_port: int, which: Filter) -> Iterator[tuple[Postfix, int]]:
    """A Postfix with that filter, and the port that leads to it; ``folder`` holds signer.pem, signer.key and recipient.pem and may
    be read by nobody.
    """
    front, back = free_port(), free_port()
    script = folder / which.name
    script.write_text(which.value.format(port=back, home=folder))
    script.chmod(0o755)
    services = (
        f"127.0.0.1:{front} inet n - n - - smtpd -o content_filter=protect:dummy\n"
        f"protect unix - n n - 10 pipe flags=Rq user=nobody argv={script} ${{sender}} ${{recipient}}\n"
    )
    main = {
        "relayhost": f"[127.0.0.1]:{sink_port}",
        "protect_destination_recipient_limit": "1",
        "smtpd_client_connection_count_limit": "0",
    }
    with Postfix("filter.hospital.example", main=main, services=services, port=back, as_the_host=True) as postfix:
        await_port(front, postfix.process)
        yield postfix, front


@contextlib.contextmanager
def plain_relay(sink_port: int) -> Iterator[Postfix]:
    """A Postfix that relays everything to the sink and does nothing else."""
    with Postfix("relay.hospital.example", main={"relayhost": f"[127.0.0.1]:{sink_port}"}) as postfix:
        yield postfix
