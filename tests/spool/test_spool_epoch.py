"""Epoch keys: made without the token, opened once with it."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.mail.identifier import MailId
from gateway.outcome import GatewayError, Reason
from gateway.spool.epoch import EpochKeys, SealingKey, load_sealing_key
from tests.spool.kit import START, Clock, KeyHolder, holder, sealing, spool_key

DAY_SECONDS = 86_400


def keys(unwrapper: KeyHolder | None, clock: Clock | None = None) -> EpochKeys:
    moved = clock or Clock()
    return EpochKeys(sealing(), unwrapper, lambda: moved.now)


def test_making_an_epoch_needs_no_private_key() -> None:
    """The unwrapper is not asked, and the key is known at once."""
    own = keys(None)
    epoch = own.current()
    assert own.is_open(epoch.id)
    assert len(own.key(epoch.id)) == 32
    assert own.key(epoch.id) not in (sealed.wrapped for sealed in epoch.sealings)


def test_an_epoch_lasts_until_midnight() -> None:
    """The same one within a UTC day, another on the next; the old one stays open."""
    clock = Clock(now=START - START % (DAY_SECONDS * 1_000_000))
    own = keys(None, clock)
    first = own.current()
    clock.advance(DAY_SECONDS - 1)
    assert own.current() is first
    clock.advance(1)
    second = own.current()
    assert second.id != first.id
    assert own.key(second.id) != own.key(first.id)


async def test_another_process_opens_it_with_one_unwrap() -> None:
    """Many who ask at once cause one unwrap."""
    own = keys(None)
    epoch = own.current()
    token = holder()
    other = keys(token)
    with pytest.raises(GatewayError) as caught:
        other.key(epoch.id)
    assert caught.value.reason is Reason.KEY_UNAVAILABLE
    await asyncio.gather(*(other.open(epoch) for _ in range(5)))
    assert other.key(epoch.id) == own.key(epoch.id)
    assert token.asked == 1


async def test_the_recovery_key_opens_it_when_the_token_is_gone() -> None:
    """The second sealing serves where the first yields nothing."""
    recovery = rsa.generate_private_key(65537, 2048)
    own = EpochKeys((*sealing(), SealingKey("recovery", recovery.public_key())), None, lambda: START)
    epoch = own.current()
    other = keys(KeyHolder({"recovery": recovery}))
    await other.open(epoch)
    assert other.key(epoch.id) == own.key(epoch.id)


async def test_a_random_key_in_place_of_a_wrong_padding_is_noticed() -> None:
    """A damaged sealing unwraps to a random key; it is not taken for the epoch's."""
    epoch = keys(None).current()
    sealed = epoch.sealings[0]
    damaged = replace(epoch, sealings=(replace(sealed, wrapped=bytes([sealed.wrapped[0] ^ 1]) + sealed.wrapped[1:]),))
    other = keys(holder())
    with pytest.raises(GatewayError, match="key spool does not open") as caught:
        await other.open(damaged)
    assert caught.value.reason is Reason.KEY_UNAVAILABLE
    assert not other.is_open(epoch.id)


@pytest.mark.parametrize("unwrapper", [None, KeyHolder(), KeyHolder({"spool": spool_key()}, available=False)])
async def test_without_the_key_it_stays_closed(unwrapper: KeyHolder | None) -> None:
    """No unwrapper, an unknown key, a token that is away."""
    epoch = keys(None).current()
    with pytest.raises(GatewayError) as caught:
        await keys(unwrapper).open(epoch)
    assert caught.value.reason is Reason.KEY_UNAVAILABLE


def test_without_a_spool_key_nothing_is_written() -> None:
    """A process that was given no public key cannot make an epoch."""
    with pytest.raises(GatewayError) as caught:
        EpochKeys((), None, lambda: START).current()
    assert caught.value.reason is Reason.KEY_UNAVAILABLE
    with pytest.raises(GatewayError):
        EpochKeys((), None, lambda: START).key(MailId("0" * 26))


def test_a_spool_key_is_rsa_of_2048_bits() -> None:
    """From PEM; smaller ones and other kinds are refused."""
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = spool_key().public_key()
    assert load_sealing_key("spool", good.public_bytes(*form)) == SealingKey("spool", good)
    for bad in (
        rsa.generate_private_key(65537, 1024).public_key().public_bytes(*form),  # noqa: S505 - too small on purpose
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*form),
        b"no key",
    ):
        with pytest.raises(ValueError, match=r".+"):
            load_sealing_key("spool", bad)
