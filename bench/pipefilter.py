"""What a site does today: Postfix, and a pipe filter that calls ``openssl cms -sign | openssl cms -encrypt`` for each mail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.system.postfix import Postfix, free_port

# The filter speaks SMTP to the re-injection port by bash itself: cheaper than any mail submission program it could start.
SCRIPT = """\
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
openssl cms -sign -signer {home}/signer.pem -inkey {home}/signer.key 2>/dev/null \\
 | openssl cms -encrypt -aes256 {home}/recipient.pem | sed 's/\\r*$/\\r/' >&3
say "."
say "QUIT"
"""


@contextlib.contextmanager
def pipe_filter(folder: Path, sink_port: int) -> Iterator[Postfix]:
    """A Postfix with that filter; ``folder`` holds signer.pem, signer.key and recipient.pem and may be read by nobody."""
    again = free_port()
    script = folder / "filter"
    script.write_text(SCRIPT.format(port=again, home=folder))
    script.chmod(0o755)
    services = (
        f"127.0.0.1:{again} inet n - n - - smtpd -o content_filter=\n"
        f"protect unix - n n - 10 pipe flags=Rq user=nobody argv={script} ${{sender}} ${{recipient}}\n"
    )
    main = {
        "content_filter": "protect:dummy",
        "relayhost": f"[127.0.0.1]:{sink_port}",
        "protect_destination_recipient_limit": "1",
        "smtpd_client_connection_count_limit": "0",
    }
    with Postfix("filter.hospital.example", main=main, services=services) as postfix:
        yield postfix


@contextlib.contextmanager
def plain_relay(sink_port: int) -> Iterator[Postfix]:
    """A Postfix that relays everything to the sink and does nothing else."""
    with Postfix("relay.hospital.example", main={"relayhost": f"[127.0.0.1]:{sink_port}"}) as postfix:
        yield postfix
