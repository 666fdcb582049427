"""``make demo``: a hospital sends a discharge letter to a laboratory, each behind its own gateway. Ends with 0 if all went well."""

from __future__ import annotations

import os
import shutil
import signal
import smtplib
import sys
import tempfile
import threading
import time
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from demo.letter import RECIPIENT, SENDER, TEXT, letter, pdf
from demo.mailserver import MailServer
from demo.ports import free_port
from demo.publisher import Publisher
from demo.show import in_the_mailbox, keeping, on_the_wire, times, written
from demo.site import Site
from demo.wire import Identity, Tap

PATIENCE = 60.0


class Failed(Exception):
    """The demo did not show what it promises."""


def identity(site: Site) -> Identity:
    """What a site's gateway shows on the wire."""
    return Identity(
        site.folder / "certificates" / "tls.pem", site.folder / "secrets" / "tls.key", site.folder / "anchors" / "lab.pem"
    )


def check(sent: bytes, heard: bytes, mail: bytes) -> None:
    """That the letter went protected and arrived whole and verified."""
    head = sent.partition(b"\r\n\r\n")[0]
    content = [word.encode() for word in TEXT.split() if len(word) > 6] + [pdf()[:8], b64encode(pdf()[:30])]
    if found := [word for word in content if word in heard and word not in head]:
        raise Failed(f"in clear on the wire: {found!r}")
    if b"application/pkcs7-mime" not in heard:
        raise Failed("no application/pkcs7-mime on the wire")
    if b"smime=pass" not in mail:
        raise Failed("the laboratory's gateway did not verify the letter")
    if mail.partition(b"\n\n")[2] != sent.replace(b"\r\n", b"\n").partition(b"\n\n")[2]:
        raise Failed("the letter in the mailbox is not the letter that was sent")


def wait_for_wire(tap: Tap, sites: tuple[Site, Site]) -> list[dict[str, object]]:
    """The audit lines of both gateways about the letter, once all are written."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        events = sorted((event for site in sites for event in site.audit() if event.get("org")), key=lambda event: str(event["at"]))
        if sum(event["event"] == "mail_delivered" for event in events) >= 2 and tap.heard:
            return events
        time.sleep(0.05)
    raise Failed("the gateways did not write their audit lines")


def play(console: Console, folder: Path, stack: ExitStack) -> Site:
    """The whole demo; gives the sending site, still running."""
    publisher = Publisher(folder / "ca")
    hospital = Site(folder / "hospital", "hospital", "hospital.example")
    laboratory = Site(folder / "laboratory", "laboratory", "laboratory.example")
    with console.status("making two organisations: token, keys, certificates from a lab authority"):
        for site in (hospital, laboratory):
            site.create(folder / "ca", publisher.crl_url)
        wire = free_port()
        hospital.know(laboratory, port=wire)
        laboratory.know(hospital)
    publisher.start()
    stack.callback(publisher.stop)
    tap = Tap(port=wire, onward=laboratory.zone, receiver=identity(laboratory), sender=identity(hospital))
    tap.start()
    stack.callback(tap.stop)
    mail_server = MailServer(folder / "mail", "mail.laboratory.example", laboratory.mail_server, (RECIPIENT,))
    mail_server.start()
    stack.callback(mail_server.stop)
    with console.status("starting both gateways: workers, key agents, control"):
        for site in (hospital, laboratory):
            stack.callback(site.stop)
            site.start()
    sent = letter()
    console.print(written(sent))
    with console.status("on its way"):
        with smtplib.SMTP("127.0.0.1", hospital.inside) as session:
            session.sendmail(SENDER, [RECIPIENT], sent, mail_options=["BODY=8BITMIME"])
        if not mail_server.wait(PATIENCE):
            raise Failed("nothing arrived")
        events = wait_for_wire(tap, (hospital, laboratory))
    mail = mail_server.mails[0][1].read_bytes()
    heard = bytes(tap.heard)
    console.print(on_the_wire(heard))
    console.print(in_the_mailbox(mail))
    console.print(times(events))
    check(sent, heard, mail)
    console.print("[bold green]The letter left protected, arrived whole, and its signature was verified.[/]")
    return hospital


def main() -> int:
    """Play, and keep running where KEEP is set."""
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="smime-gateway-demo-"))
    try:
        with ExitStack() as stack:
            hospital = play(console, folder, stack)
            if os.environ.get("KEEP"):
                stop = threading.Event()
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, lambda *_: stop.set())
                keeping(console, hospital.inside, str(folder))
                stop.wait()
    except Failed as error:
        console.print(str(error), style="bold red", markup=False)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
