"""Clients that log in (RFC 4954): under TLS, on an inside listener, as one of their users."""

from __future__ import annotations

import asyncio
import hashlib
import smtplib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.config.users import Users, parse_users
from gateway.events import CommandRefused, MailRefused
from gateway.outcome import Reason
from tests.receive.gatehouse import Client, House

PASSWORD = "open-sesame-7"


def line(name: str, password: str) -> str:
    salt = name.encode().ljust(16, b"-")
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
    return f"{name}:scrypt$16384$8$1${b64encode(salt).decode()}${b64encode(digest).decode()}"


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def plain(user: str, password: str) -> str:
    return base64(f"\0{user}\0{password}")


def with_users(house: House, networks: tuple[str, ...] = ()) -> None:
    users: Users = parse_users(line("scanner", PASSWORD).encode())
    client = house.config.client["mail"].model_copy(update={"networks": networks, "users": users})
    house.config = house.config.model_copy(update={"client": {"mail": client}})


@asynccontextmanager
async def secured(house: House) -> AsyncIterator[Client]:
    async with house.client("secure") as client:
        assert (await client.ask("STARTTLS")).startswith("220")
        await client.writer.start_tls(house.client_tls(), server_hostname="gateway.hospital.example")
        yield client


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("initial", [True, False])
async def test_smtplib_logs_in_and_sends(gatehouse: House, mechanism: str, initial: bool) -> None:
    with_users(gatehouse)
    context = gatehouse.client_tls()
    context.check_hostname = False  # smtplib would look for 127.0.0.1 in it

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", gatehouse.ports["secure"], timeout=10) as client:
            client.starttls(context=context)
            client.ehlo()
            assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
            client.user, client.password = "scanner", PASSWORD
            client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"), initial_response_ok=initial)
            client.sendmail("scan@hospital.example", ["results@laboratory.example"], "Subject: x\r\n\r\nx\r\n", ["AUTH=<>"])

    await asyncio.to_thread(send)
    assert [mail.arrival.client for mail in gatehouse.spool.accepted] == ["mail"]


async def test_not_logged_in_is_530(gatehouse: House) -> None:
    with_users(gatehouse)
    async with secured(gatehouse) as client:
        await client.ask("EHLO scanner.hospital.example")
        assert await client.ask("MAIL FROM:<scan@hospital.example>") == "530 5.7.0 Authentication required"
    assert [event.reason for event in gatehouse.seen(MailRefused)] == [Reason.LOGIN_REQUIRED]


async def test_offered_under_tls_alone_and_to_those_who_have_users(gatehouse: House) -> None:
    with_users(gatehouse)
    async with gatehouse.client("secure") as client:
        assert "AUTH" not in await client.ask("EHLO scanner.hospital.example")
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("538 5.7.11")
        assert (await client.ask("MAIL FROM:<scan@hospital.example> AUTH=<>")).startswith("555")
    async with gatehouse.client("stranger") as client:
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("502")


async def test_a_client_elsewhere_cannot_log_in(gatehouse: House) -> None:
    with_users(gatehouse, ("10.0.0.0/8",))
    async with secured(gatehouse) as client:
        assert "AUTH" not in await client.ask("EHLO scanner.hospital.example")
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("502")
        assert (await client.ask("MAIL FROM:<scan@hospital.example>")).startswith("550 5.7.1")


async def test_in_its_network_a_client_with_users_logs_in_all_the_same(gatehouse: House) -> None:
    with_users(gatehouse, ("127.0.0.0/8",))
    async with secured(gatehouse) as client:
        await client.ask("EHLO scanner.hospital.example")
        assert (await client.ask("MAIL FROM:<scan@hospital.example>")).startswith("530 5.7.0")
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("235 2.7.0")
        assert (await client.ask("MAIL FROM:<scan@hospital.example>")).startswith("250")


async def test_once_and_not_in_a_mail(gatehouse: House) -> None:
    with_users(gatehouse)
    async with secured(gatehouse) as client:
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("503")  # EHLO comes first
        await client.ask("EHLO scanner.hospital.example")
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("235")
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("503")
        assert (await client.ask("MAIL FROM:<scan@hospital.example>")).startswith("250")
        assert (await client.ask("AUTH LOGIN")).startswith("503")


async def test_wrong_unknown_and_malformed_leave_no_secret(gatehouse: House) -> None:
    with_users(gatehouse)
    wrong, unknown = plain("scanner", "wr0ng-secret"), plain("nobody", PASSWORD)
    async with secured(gatehouse) as client:
        await client.ask("EHLO scanner.hospital.example")
        first = await client.ask(f"AUTH PLAIN {wrong}")
        assert first.startswith("535 5.7.8")
        assert await client.ask(f"AUTH PLAIN {unknown}") == first
        assert (await client.ask("AUTH PLAIN ====")).startswith("501 5.5.2")
        assert (await client.ask("AUTH LOGIN")) == "334 VXNlcm5hbWU6"
        assert (await client.ask("*")).startswith("501 5.7.0")
        assert (await client.ask("AUTH CRAM-MD5")).startswith("421 4.7.0")  # the fifth error, and here that is the last
    seen = gatehouse.seen(CommandRefused)
    assert [event.verb for event in seen] == ["AUTH"] * 5
    assert not any(secret in repr(seen) for secret in ("wr0ng-secret", PASSWORD, wrong, unknown, "===="))


async def test_an_unknown_name_costs_what_a_known_one_costs(gatehouse: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with_users(gatehouse)
    costs: list[tuple[int, int, int]] = []
    real = hashlib.scrypt

    def noted(password: bytes, *, salt: bytes, n: int, r: int, p: int, maxmem: int, dklen: int) -> bytes:
        costs.append((n, r, p))
        return real(password, salt=salt, n=n, r=r, p=p, maxmem=maxmem, dklen=dklen)

    monkeypatch.setattr(hashlib, "scrypt", noted)
    async with secured(gatehouse) as client:
        await client.ask("EHLO scanner.hospital.example")
        await client.ask(f"AUTH PLAIN {plain('scanner', 'wrong')}")
        await client.ask(f"AUTH PLAIN {plain('nobody', 'wrong')}")
    assert costs == [(16384, 8, 1)] * 2


async def test_a_user_who_is_taken_away_is_one_no_longer(gatehouse: House) -> None:
    with_users(gatehouse)
    async with secured(gatehouse) as client:
        await client.ask("EHLO scanner.hospital.example")
        assert (await client.ask(f"AUTH PLAIN {plain('scanner', PASSWORD)}")).startswith("235")
        others = gatehouse.config.client["mail"].model_copy(update={"users": parse_users(line("another", "x").encode())})
        gatehouse.config = gatehouse.config.model_copy(update={"client": {"mail": others}})
        assert (await client.ask("MAIL FROM:<scan@hospital.example>")).startswith("550 5.7.1")
