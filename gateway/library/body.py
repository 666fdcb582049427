"""A message in memory opened or protected by what is at hand: keys, certificates, trust. No configuration, nothing fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from gateway.config.encryption import CIPHERS, Floor
from gateway.flow.evidence import Signed
from gateway.flow.opening import Opened
from gateway.flow.opening import open_message as flow_open
from gateway.flow.protect import SigningKey
from gateway.flow.protect import protect_message as flow_protect
from gateway.mail.body import Body
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection
from gateway.mail.memory import MemoryBodies
from gateway.policy import Chosen, best
from gateway.policy.algorithms import Why
from gateway.smime.keys import Signer, Unwrapper
from gateway.smime.known import Strength
from gateway.smime.message import SignedForm
from gateway.trust.along import Along
from gateway.trust.judgement import Assurance, Distrusted, Purpose, Trusted

FLOOR: Final = Floor()
"""The least that readers are encrypted to with, where nobody says another."""
HOSTNAME: Final = "localhost"
"""Who marks a message that was opened without a configuration."""


class Trust(Protocol):
    """Says whom to believe. :class:`gateway.trust.given.GivenTrust` does by certificates of authorities and their CRLs."""

    def judge(self, certificate: bytes, along: Along, purpose: Purpose, at: int, /) -> Trusted | Distrusted:
        """Whether ``certificate`` is to be believed at ``at`` (microseconds UTC). What is ``along`` came with it: found, not
        believed.
        """


async def open_body(
    body: Body,
    unwrapper: Unwrapper,
    keys: Mapping[str, bytes],
    trust: Trust,
    *,
    at: int,
    strength: Strength = Strength.MODERN,
    hostname: str = HOSTNAME,
    keep_signature: bool = False,
) -> Opened:
    """What ``keys`` (names to certificates, DER) open and ``trust`` believes. Raises as
    :func:`gateway.flow.opening.open_message`.
    """

    async def judge(certificate: bytes, along: Along, moment: int, /) -> Signed:
        judgement = trust.judge(certificate, along, Purpose.SMIME_SIGNER, moment)
        return Signed(judgement, Assurance.PUBLIC_CA if isinstance(judgement, Trusted) else None)

    return await flow_open(
        body,
        MemoryBodies(),
        unwrapper=unwrapper,
        keys=keys,
        judge=judge,
        at=at,
        hostname=hostname,
        keep_signature=keep_signature,
        strength=strength,
    )


def choices(readers: Sequence[bytes], floor: Floor = FLOOR) -> tuple[Chosen, ...]:
    """How each of ``readers`` (certificates, DER) is encrypted to in one message. Its cipher is one that all open.

    Raises as :func:`gateway.policy.best`.
    """
    each = [best(reader, (), None, floor) for reader in readers]
    common = min((chosen.cipher for chosen in each), key=CIPHERS.index, default=floor.cipher)
    return tuple(chosen if chosen.cipher is common else replace(chosen, cipher=common, cipher_why=Why.DEFAULT) for chosen in each)


async def protect_body(
    body: Body,
    signing: tuple[Signer, SigningKey] | None,
    readers: Sequence[bytes],
    *,
    at: int,
    headers: HeaderProtection = NOT_PROTECTED,
    form: SignedForm = SignedForm.CLEAR,
    floor: Floor = FLOOR,
) -> Body:
    """``body`` signed in this ``form`` and encrypted to ``readers`` (certificates, DER) as :func:`choices` says; its header as
    ``headers`` does. Raises as :func:`choices` and :func:`gateway.flow.protect.protect_message`.
    """
    chosen = choices(readers, floor)
    return await flow_protect(
        body,
        MemoryBodies(),
        signing=signing,
        readers=[each.reader(reader) for each, reader in zip(chosen, readers, strict=True)],
        at=at,
        random=os.urandom,
        cipher=chosen[0].cipher if chosen else floor.cipher,
        headers=headers,
        form=form,
    )
