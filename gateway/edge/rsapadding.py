"""Takes the padding of RFC 8017 off a block that came out of a raw RSA operation.

Pure. The caller says how long the key inside must be and brings a random key of that length. A block that is wrong in any
way gives the random key, by the same steps: every byte is looked at, nothing returns early, and the choice between the two
is arithmetic (RFC 3218 2.3.2). Only the sizes, which everybody knows, decide a branch. Python cannot promise equal time to
the nanosecond; what is left is far below the jitter of a process that answers over a socket.
"""

from __future__ import annotations

import hashlib

from gateway.smime.keys import Digest


def open_pkcs1(block: bytes, instead: bytes) -> bytes:
    """The key in ``block`` (EME-PKCS1-v1_5, RFC 8017 7.2.2), as long as ``instead``; or ``instead``."""
    cut = len(block) - len(instead)
    if cut < 11:  # 00 02, eight bytes of padding, 00
        return instead
    bad = block[0] | (block[1] ^ 2) | block[cut - 1] | block.count(0, 2, cut - 1)
    return _choose(bad, instead, block[cut:])


def open_oaep(block: bytes, instead: bytes, digest: Digest, mgf: Digest, label: bytes) -> bytes:
    """The key in ``block`` (EME-OAEP, RFC 8017 7.1.2), as long as ``instead``; or ``instead``."""
    label_hash = hashlib.new(digest, label).digest()
    size = len(label_hash)
    cut = len(block) - len(instead)
    if cut < 2 * size + 2:  # 00, seed, label hash, 01
        return instead
    seed = _xor(block[1 : size + 1], mgf1(block[size + 1 :], size, mgf))
    data = _xor(block[size + 1 :], mgf1(seed, len(block) - size - 1, mgf))
    mark = cut - size - 2  # where, in data, the 01 before the key must stand
    bad = block[0] | (int.from_bytes(data[:size]) ^ int.from_bytes(label_hash)) | int.from_bytes(data[size:mark]) | (data[mark] ^ 1)
    return _choose(bad, instead, data[mark + 1 :])


def mgf1(seed: bytes, length: int, digest: Digest) -> bytes:
    """The mask of ``length`` bytes (RFC 8017 B.2.1)."""
    size = hashlib.new(digest).digest_size
    blocks = (hashlib.new(digest, seed + count.to_bytes(4)).digest() for count in range(-(-length // size)))
    return b"".join(blocks)[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))


def _choose(bad: int, instead: bytes, found: bytes) -> bytes:
    mask = (bad == 0) - 1  # 0 where all is well, else all ones
    return ((int.from_bytes(instead) & mask) | (int.from_bytes(found) & ~mask)).to_bytes(len(instead))
