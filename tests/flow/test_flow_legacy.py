"""The legacy allowance opens and checks what is weak. It is marked all the same, and nothing weak is ever verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from gateway.smime.known import Strength
from tests.flow.opened import ENTITY, PLAIN, as_message, believing, bytes_of, encrypt, opened, sign
from tests.pki import NOW, Ca, Issued, microseconds

AT = microseconds(NOW) + 10 * 365 * 86400 * 10**6


@pytest.mark.parametrize("digest", ["sha1", "md5"])
async def test_a_weak_signature_of_a_trusted_signer_verifies_nothing(ca: Ca, signer: Issued, tmp_path: Path, digest: str) -> None:
    message = as_message(sign(tmp_path, PLAIN, signer, options=("-md", digest)))
    for strength, signature in ((Strength.MODERN, "unsupported"), (Strength.LEGACY, "good")):
        verdict = (await opened(message, {}, believing(ca), AT, strength=strength)).verdict
        assert (verdict.judged, verdict.assurance, verdict.by) == (Judged.SIGNED_UNVERIFIED, None, None)
        assert verdict.reasons == (Reason.WEAK_ALGORITHM,)
        assert [each.signature for each in verdict.layers[0].signers] == [signature]


async def test_a_strong_signature_in_weak_encryption_is_verified_and_the_weakness_told(
    ca: Ca, signer: Issued, reader: Issued, tmp_path: Path
) -> None:
    message = as_message(encrypt(tmp_path, sign(tmp_path, ENTITY, signer), reader, options=("-des3",)))
    closed = await opened(message, {"decrypt": reader}, believing(ca), AT)
    assert (closed.verdict.judged, closed.verdict.reasons) == (Judged.UNDECRYPTABLE, (Reason.WEAK_ALGORITHM,))
    result = await opened(message, {"decrypt": reader}, believing(ca), AT, strength=Strength.LEGACY)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, (Reason.WEAK_ALGORITHM,))
    assert result.verdict.layers[0].algorithms["content"] == "des-ede3-cbc"
    assert bytes_of(result).endswith(ENTITY.partition(b"\r\n\r\n")[2])
