"""What the demo shows: the letter at its three places, and the time of each step."""

from __future__ import annotations

from datetime import datetime
from email import message_from_bytes
from email.policy import default
from itertools import pairwise
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.letter import RECIPIENT, SENDER

STEPS = {
    "mail_accepted": "{org}: 250, the mail is on disk, encrypted",
    "mail_protected": "{org}: signed by its token, encrypted for the recipient",
    "mail_opened": "{org}: opened by its token, verified",
    "mail_delivered": "{org}: delivered to {route}",
}


def written(letter: bytes) -> Panel:
    """The letter as it was written."""
    message = message_from_bytes(letter, policy=default)
    lines = Text()
    for name in ("From", "To", "Subject"):
        lines.append(f"{name}: ", "bold")
        lines.append(f"{message[name]}\n")
    body = message.get_body(("plain",))
    if body is not None:
        lines.append(f"\n{body.get_content().strip()}\n", "green")
    for part in message.walk():
        if not part.is_multipart():
            lines.append(f"\n{part.get_content_type()}  {part.get_filename() or ''}", "dim")
    return Panel(lines, title="1  as written, in the hospital's mailbox", border_style="green")


def on_the_wire(heard: bytes) -> Panel:
    """What was said between the two gateways, inside TLS."""
    text = heard.decode("utf-8", "replace").replace("\r\n", "\n")
    lines = text.split("\n")
    shown = Text()
    base64 = 0
    for line in lines:
        if len(line) >= 60 and " " not in line:
            base64 += 1
            if base64 > 6:
                continue
            shown.append(line + "\n", "red")
        else:
            important = line.lower().startswith(("content-", "mail from", "rcpt to")) or "smime-type" in line
            shown.append(line + "\n", "bold red" if important else "dim")
    if base64 > 6:
        shown.append(f"... {base64 - 6} more lines of ciphertext", "red")
    return Panel(shown, title=f"2  over the wire, inside TLS ({len(heard)} bytes)", border_style="red")


def in_the_mailbox(mail: bytes) -> Panel:
    """The letter as the laboratory's mailbox has it."""
    message = message_from_bytes(mail, policy=default)
    lines = Text()
    for name in ("X-Gateway-Security", "Authentication-Results"):
        for value in message.get_all(name, []):
            lines.append(f"{name}: {' '.join(str(value).split())}\n", "bold cyan")
    for name in ("From", "To", "Subject"):
        lines.append(f"{name}: ", "bold")
        lines.append(f"{message[name]}\n")
    body = message.get_body(("plain",))
    if body is not None:
        lines.append(f"\n{body.get_content().strip()}\n", "green")
    for part in message.walk():
        if not part.is_multipart():
            lines.append(f"\n{part.get_content_type()}  {part.get_filename() or ''}", "dim")
    return Panel(lines, title="3  in the laboratory's mailbox, with its verdict", border_style="cyan")


def times(events: list[dict[str, Any]]) -> Panel:
    """How long each step took, from the audits of both gateways."""
    steps = [event for event in events if event["event"] in STEPS]
    table = Table(box=None, pad_edge=False)
    table.add_column("step")
    table.add_column("ms", justify="right")
    moments = [datetime.fromisoformat(event["at"]) for event in steps]
    table.add_row(_step(steps[0]), "0.0")
    for (before, after), event in zip(pairwise(moments), steps[1:], strict=True):
        table.add_row(_step(event), f"{(after - before).total_seconds() * 1000:.1f}")
    table.add_row("from the hospital's 250 to the laboratory's mailbox", f"{(moments[-1] - moments[0]).total_seconds() * 1000:.1f}")
    return Panel(table, title="time of each step", border_style="blue")


def _step(event: dict[str, Any]) -> str:
    route = "the peer, over mutual TLS" if str(event.get("route")).startswith("peer:") else "the mail server"
    return STEPS[event["event"]].format(org=event["org"], route=route)


def keeping(console: Console, inside: int, folder: str) -> None:
    """How to send one's own mail through what was left running."""
    console.print(
        Group(
            Text("Both gateways keep running. Send your own mail through them:", "bold"),
            Text(
                f"  swaks --server 127.0.0.1:{inside} --from {SENDER} --to {RECIPIENT} \\\n"
                "        --header 'Subject: my own' --body 'for your eyes only'"
            ),
            Text(f"  ls {folder}/mail/{RECIPIENT}/new"),
            Text(f"  .venv/bin/smime-gateway status --config {folder}/hospital/gateway.toml"),
            Text("Ctrl-C ends everything and removes the directory."),
        )
    )
