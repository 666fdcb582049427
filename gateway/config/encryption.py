"""How readers are encrypted to: what is known of their programs, and what an organisation asks for at least."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from gateway.config.kinds import Pattern
from gateway.config.section import Section
from gateway.smime.algorithms import ContentCipher, KeyTransport


class Opens(Section):
    """What somebody's programs are known to open best; it stands in the place of what they say themselves."""

    cipher: ContentCipher | None = None
    transport: KeyTransport | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.cipher is None and self.transport is None:
            raise ValueError("give cipher, transport or both")
        return self


class KnownReader(Section):
    """``[[organisation.NAME.reader]]``: addresses (``local@domain``, ``@domain`` or ``@*.domain``) whose programs are known."""

    recipient: tuple[Pattern, ...] = Field(min_length=1)
    opens: Opens


class Floor(Section):
    """The least that anybody is encrypted to with, and what somebody is of whom nothing is known."""

    cipher: ContentCipher = ContentCipher.AES256_CBC
    transport: KeyTransport = KeyTransport.PKCS1
