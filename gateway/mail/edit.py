"""An entity with some of its bytes exchanged, without a copy of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.mail.entity import Sized
from gateway.mail.form import Span


@dataclass(frozen=True, slots=True)
class Edit:
    """``text`` stands where ``span`` did."""

    span: Span
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class EditedEntity:
    """``entity`` with ``edits``, which are in order and do not overlap."""

    entity: Sized
    edits: tuple[Edit, ...]

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.entity.size + sum(len(edit.text) - (edit.span.end - edit.span.start) for edit in self.edits)

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start."""
        return edited(self.entity.chunks(), self.edits)


def edited(chunks: Iterable[bytes], edits: Iterable[Edit]) -> Iterator[bytes]:
    """``chunks`` with ``edits``, which are in order, do not overlap and lie inside."""
    offset, left = 0, list(edits)
    for chunk in chunks:
        at, end = 0, offset + len(chunk)
        while left and left[0].span.start < end:
            span = left[0].span
            if span.start >= offset + at:
                yield chunk[at : span.start - offset] + left[0].text
            at = min(span.end - offset, len(chunk))
            if span.end > end:
                break
            left.pop(0)
        if at < len(chunk):
            yield chunk[at:]
        offset = end
    yield from (edit.text for edit in left if edit.span.start >= offset)
