"""What workers and key agents say to each other: every request as it was, and none that is not as agreed."""

from __future__ import annotations

import pytest

from gateway.edge.keywire import (
    FrameReader,
    Request,
    StatusRequest,
    UnwrapRequest,
    WireError,
    read_request,
    write_frame,
    write_request,
)
from gateway.edge.keywire import Kind as FrameKind
from gateway.smime.keys import Digest, Ecdh, Kdf, Oaep, Pkcs1, Wrap

REQUESTS: list[Request] = [
    StatusRequest(),
    UnwrapRequest("decrypt", Pkcs1(bytes(256), 16)),
    *(
        UnwrapRequest("decrypt", Oaep(bytes(256), 32, digest, mask, b"label"))
        for digest in (Digest.SHA1, Digest.SHA224, Digest.SHA256, Digest.SHA384, Digest.SHA512)
        for mask in (Digest.SHA1, Digest.SHA512)
    ),
    *(
        UnwrapRequest("decrypt", Ecdh(bytes(40), 32, b"originator", Digest.SHA384, b"info", size, kdf, wrap, salt))
        for wrap, size in ((Wrap.AES, 16), (Wrap.AES, 24), (Wrap.AES, 32), (Wrap.TRIPLE_DES, 24))
        for kdf in Kdf
        for salt in (b"", b"salt")
    ),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_request_comes_as_it_was_sent(request_: Request) -> None:
    (frame,) = FrameReader().feed(write_request(7, request_))
    assert frame.number == 7
    assert read_request(frame) == request_


RIGHT = [b"key", b"", b"\0 ", b"x963", b"sha256", b"aes", b"\0 ", b"originator", b"info", b"salt"]
WRONG = {0: b"\xff", 2: b" ", 3: b"none", 4: b"sha3", 5: b"des", 6: b"\0\x0f"}


@pytest.mark.parametrize(
    "fields",
    [
        RIGHT[:-1],
        [*RIGHT, b""],
        *([*RIGHT[:place], value, *RIGHT[place + 1 :]] for place, value in WRONG.items()),
        [*RIGHT[:5], b"des-ede3", *RIGHT[6:]],  # whose key has 24 bytes
    ],
)
def test_an_agreement_that_is_not_as_agreed_is_refused(fields: list[bytes]) -> None:
    (right,) = FrameReader().feed(write_frame(1, FrameKind.UNWRAP_ECDH, RIGHT))
    assert isinstance(read_request(right), UnwrapRequest)
    (wrong,) = FrameReader().feed(write_frame(1, FrameKind.UNWRAP_ECDH, fields))
    with pytest.raises(WireError):
        read_request(wrong)
