"""NIST's vectors for decrypting and checking AES-GCM and AES-CCM, as the content of AuthEnvelopedData (RFC 5084).

Not here: those with additional data, which CMS has in no message we read (RFC 5083 2.2), and those for AES in CBC, which have no
padding.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.cms import Kind, read_algorithm
from gateway.smime.decrypt import decryptor, sealed_by
from gateway.smime.known import Strength
from tests.conformance.published import Record, records

GCM: Final = {128: 6, 192: 26, 256: 46}  # below 2.16.840.1.101.3.4.1
CCM: Final = {128: 7, 192: 27, 256: 47}


def opened(number: int, key: bytes, nonce: bytes, ciphertext: bytes, tag: bytes) -> bytes | Reason:
    """The plaintext, given a byte at a time; or why not. The same whether its length is told first or not."""
    [answer] = {_opened(number, key, nonce, ciphertext, tag, size) for size in (len(ciphertext), None)}
    return answer


def _opened(number: int, key: bytes, nonce: bytes, ciphertext: bytes, tag: bytes, size: int | None) -> bytes | Reason:
    parameters = der.sequence(der.octet_string(nonce), der.integer(len(tag)))
    algorithm = der.sequence(der.oid(f"2.16.840.1.101.3.4.1.{number}"), parameters)
    try:
        sealed = sealed_by(read_algorithm(der.read(algorithm)), Kind.AUTHENVELOPED, Strength.MODERN)
        cipher = decryptor(sealed, key, size)
        out = [cipher.update(ciphertext[at : at + 1]) for at in range(len(ciphertext))]
        return b"".join([*out, cipher.finalize(tag)])
    except GatewayError as error:
        return error.reason


def values(record: Record, *names: str) -> list[bytes]:
    return [bytes.fromhex(record[name]) for name in names]


@pytest.mark.parametrize(("bits", "good", "bad"), [(128, 359, 391), (192, 394, 356), (256, 384, 366)])
def test_gcm(bits: int, good: int, bad: int) -> None:
    """Nonces of 12 bytes and of 128 are taken (RFC 5084 3.2), with tags of 12 at least; the others are refused before anything is
    done.
    """
    said: Counter[str] = Counter()
    for record in records(f"ciphers/AES/GCM/gcmDecrypt{bits}.rsp", "Tag"):
        if record["AADlen"] != "0":
            continue
        found = opened(GCM[bits], *values(record, "Key", "IV", "CT", "Tag"))
        if int(record["Taglen"]) < 96:
            assert found is Reason.MALFORMED
            said["short tag"] += 1
        elif record["IVlen"] == "8":
            assert found is Reason.UNSUPPORTED
            said["short nonce"] += 1
        elif "FAIL" in record:
            assert found is Reason.INTEGRITY
            said["bad"] += 1
        else:
            assert found == bytes.fromhex(record["PT"])
            said["good"] += 1
    assert said == {"short tag": 450, "short nonce": 375, "good": good, "bad": bad}


@pytest.mark.parametrize("bits", CCM)
def test_ccm(bits: int) -> None:
    """Tags of 4 bytes are refused: so short a one can be guessed."""
    said: Counter[str] = Counter()
    for record in records(f"ciphers/AES/CCM/DVPT{bits}.rsp", "Result"):
        if record["Alen"] != "0":
            continue
        key, nonce, sealed = values(record, "Key", "Nonce", "CT")
        length = int(record["Tlen"])
        found = opened(CCM[bits], key, nonce, sealed[:-length], sealed[-length:])
        if length < 8:
            assert found is Reason.MALFORMED
            said["refused"] += 1
        elif record["Result"] == "Fail":
            assert found is Reason.INTEGRITY
            said["bad"] += 1
        else:
            assert found == bytes.fromhex(record["Payload"])[: int(record["Plen"])]
            said["good"] += 1
    assert said == {"refused": 60, "good": 20, "bad": 40}
