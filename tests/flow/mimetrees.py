"""MIME messages of every shape that mail programs write, each part what its header says it is."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable, Sequence
from email import message_from_bytes, policy
from itertools import count

from hypothesis import strategies as st

Render = Callable[[Callable[[], int]], bytes]
"""Gives an entity; it asks for a number where it needs a boundary of its own."""

_WORDS = st.text(st.sampled_from("abc XYZ .-=_\t\r\n"), max_size=60).map(lambda text: "\r\n".join(text.splitlines()))
_LETTERS = st.text(st.sampled_from("Résultat œdème ☃\r\n."), max_size=60).map(lambda text: "\r\n".join(text.splitlines()))


def _leaf(fields: str, content: bytes) -> Render:
    return lambda _: fields.encode() + b"\r\n" + content


def _text(text: str) -> Render:
    return _leaf('Content-Type: text/plain; charset="us-ascii"\r\n', text.encode())


def _eight_bit(text: str) -> Render:
    return _leaf("Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n", text.encode())


def _quoted(text: str) -> Render:
    encoded = quopri.encodestring(text.encode().replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return _leaf("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n", encoded)


def _attachment(data: bytes) -> Render:
    fields = "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    return _leaf(
        fields + 'Content-Disposition: attachment;\r\n filename="result.pdf"\r\n', base64.encodebytes(data).replace(b"\n", b"\r\n")
    )


def _long(length: int) -> Render:
    return _leaf("Content-Type: text/plain\r\n", b"x" * length + b"\r\ny")


def _bare(text: str) -> Render:
    return lambda _: b"\r\n" + text.encode()


_LEAVES = st.one_of(
    _WORDS.map(_text),
    _LETTERS.map(_eight_bit),
    _LETTERS.map(_quoted),
    st.binary(max_size=300).map(_attachment),
    st.integers(900, 3000).map(_long),
    st.sampled_from(["", "\r\n", "words"]).map(_bare),
)


def _multipart(kind: str, parts: Sequence[Render], aside: str) -> Render:
    def render(number: Callable[[], int]) -> bytes:
        boundary = f"=_part {number()}"
        head = f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n\r\n{aside}'.encode()
        inside = b"".join(b"\r\n--" + boundary.encode() + b"\r\n" + part(number) for part in parts)
        return head + inside + f"\r\n--{boundary}--\r\n{aside}".encode()

    return render


def _forwarded(inner: Render) -> Render:
    fields = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return lambda number: fields + b"From: a@forwarded.example\r\nSubject: before\r\nMIME-Version: 1.0\r\n" + inner(number)


ENTITIES: st.SearchStrategy[bytes] = st.recursive(
    _LEAVES,
    lambda parts: st.one_of(
        st.builds(
            _multipart,
            st.sampled_from(["mixed", "alternative", "related"]),
            st.lists(parts, min_size=1, max_size=3),
            st.sampled_from(["", "nobody reads this"]),
        ),
        parts.map(_forwarded),
    ),
    max_leaves=6,
).map(lambda render: render(count(1).__next__))
"""Nested multiparts, forwarded messages, attachments, 8bit text, long lines, empty parts."""


def leaves(message: bytes) -> list[tuple[str, bytes]]:
    """Type and decoded content of every part that has no parts, in order, as another library reads them."""
    walked = message_from_bytes(message, policy=policy.compat32).walk()
    return [(part.get_content_type(), bytes(part.get_payload(decode=True) or b"")) for part in walked if not part.is_multipart()]
