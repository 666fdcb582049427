"""How readers are encrypted to: what is known of their programs, and what an organisation asks for at least."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from gateway.config.kinds import CertificateFile, Pattern, Reading, contents, first_certificate, wrong
from gateway.config.section import Section
from gateway.outcome import GatewayError
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.certificate import encryption_key
from gateway.trust.certificate import facts
from gateway.trust.judgement import Distrusted, Purpose
from gateway.trust.suitability import unsuitable

CIPHERS: Final = tuple(ContentCipher)
"""The weakest first, as they are declared."""
TRANSPORTS: Final = tuple(KeyTransport)

_FROM_NOW_ON: Final = 1 << 62  # microseconds UTC: what was strong once does not count


def _encrypted_to(file: Path, info: ValidationInfo) -> Path:
    """Whether its time has come, or has passed, is asked when it is used."""
    if isinstance(info.context, Reading):
        certificate = contents(file, first_certificate)
        try:
            doubt = unsuitable(facts(certificate), Purpose.SMIME_RECIPIENT, _FROM_NOW_ON)
            if doubt is None:
                encryption_key(certificate)
        except GatewayError as error:
            doubt = Distrusted(error.reason, error.detail)
        if doubt is not None:
            raise wrong(f"{doubt.reason}: {doubt.detail}", "a certificate that can be encrypted to")
    return file


ReaderFile = Annotated[CertificateFile, AfterValidator(_encrypted_to)]


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

    def missed_by(self, opens: Opens) -> Iterator[str]:
        """The keys in which ``opens`` is less."""
        if opens.cipher is not None and CIPHERS.index(opens.cipher) < CIPHERS.index(self.cipher):
            yield "cipher"
        if opens.transport is not None and TRANSPORTS.index(opens.transport) < TRANSPORTS.index(self.transport):
            yield "transport"
