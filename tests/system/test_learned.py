"""Two gateways that write to each other: after a first verified mail, the answer is encrypted by the best its reader opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.site import Site
from tests.system.lab import LABORATORY, RECIPIENT, SENDER, Lab, events, letter, send, until
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)


def ciphers(site: Site, recipient: str) -> list[str]:
    """How each copy to ``recipient`` was encrypted, and why."""
    return [event["algorithms"][0] for event in events(site, "mail_protected", recipients=[recipient])]


def test_an_answer_is_by_what_the_mail_before_announced(tmp_path: Path) -> None:
    """Each gateway lists AES-GCM in what it signs. The first mail knows nothing; the answer does, and so does what follows it."""
    with Lab(tmp_path) as lab:
        behind = lab.enter(Sink(tmp_path))
        hospital = lab.site("hospital", "hospital.example", mail_server=behind.port)
        laboratory = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        for one, other in ((hospital, laboratory), (laboratory, hospital)):
            one.know(other)
        for site in lab.sites:
            site.start()
        mails = [("first", hospital, SENDER, RECIPIENT), ("answer", laboratory, RECIPIENT, SENDER)]
        for subject, site, sender, to in mails:
            send(site.inside, letter(subject, sender=sender, recipients=[to]), [to], sender)
            [arrived] = behind.got(subject.encode())
            assert b"verdict=verified" in arrived.content
        [first], [answer] = ciphers(hospital, RECIPIENT), ciphers(laboratory, SENDER)
        assert first == "aes256-cbc (default), rsa-pkcs1 (default)"
        assert answer.startswith("aes256-gcm (advertised), ")
        until(lambda: events(hospital, "mail_opened", verdict="verified"), "the answer is opened")
        for to, why in ((SENDER, "advertised"), ("surgery@hospital.example", "default")):
            [explained] = laboratory.ask("explain", "--from", RECIPIENT, "--to", to)["to"]
            assert explained["algorithms"]["why"]["cipher"] == why
