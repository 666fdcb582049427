"""Targets: CMS, DER, certificates."""

from __future__ import annotations

from fuzz import seeds
from fuzz.target import Target, failed, must, outcome, pieces, same
from gateway.smime import der
from gateway.smime.capabilities import certificate_capabilities, read_capabilities
from gateway.smime.certificate import identified
from gateway.smime.cms import SignedData, read_algorithm, read_attributes, read_recipients, read_signer
from gateway.smime.decrypt import names_of
from gateway.smime.known import Strength
from gateway.smime.normal import to_der
from gateway.smime.reader import CmsReader
from gateway.smime.verify import check, needed, read_time
from gateway.trust.certificate import facts

AT = 1_800_000_000_000_000
OURS = {"reader": seeds.reader_certificate()}


def _read(data: bytes, size: int, keys: dict[str, bytes] | None) -> object:
    reader = CmsReader(keys, Strength.LEGACY)
    content = b""
    for piece in pieces(data, size):
        content += reader.update(piece)
        if reader.wants:
            reader.give(bytes(reader.wants.wrapped.length))
            content += reader.update(b"")
    return content, reader.finalize()


def _cms(data: bytes) -> None:
    """Without keys, with one, and as what is only looked at."""
    for keys in ({}, OURS, None):
        found = same(lambda given, size, keys=keys: _read(given, size, keys), data)  # type: ignore[misc]
        if isinstance(found, tuple) and isinstance(found[1], SignedData):
            for strength in Strength:
                digests = {each: bytes(32) for each in needed(found[1], strength)}
                check(found[1], digests, found[0][:1], AT, strength)


def _der(data: bytes) -> None:
    """What was made DER is DER, and is made so no further."""
    made = outcome(lambda: to_der(data))
    if isinstance(made, bytes):
        must(to_der(made) == made, "DER that is not final")
        must(der.read(made).raw == made, "DER that reads otherwise")
    outcome(lambda: [list(item) for item in der.read(data)])


def _structures(data: bytes) -> None:
    """The small structures, each as if the bytes were one."""
    made = outcome(lambda: to_der(data))
    if not isinstance(made, bytes):
        return
    outcome(lambda: read_signer(made))
    outcome(lambda: read_attributes(made))
    outcome(lambda: read_recipients([made]))
    outcome(lambda: read_algorithm(der.read(made)))
    outcome(lambda: read_time(made))
    outcome(lambda: read_capabilities(made))


def _certificate(data: bytes) -> None:
    """A certificate as CMS sees it, and as trust does."""
    outcome(lambda: identified(data))
    outcome(lambda: names_of(data))
    outcome(lambda: certificate_capabilities(data))
    found = outcome(lambda: facts(data))
    if not failed(found):
        must(facts(data) == found, "facts that change")


def _small() -> list[bytes]:
    """Signers, recipients and algorithms out of whole structures."""
    found: list[bytes] = []
    for structure in seeds.structures():
        made = outcome(lambda structure=structure: to_der(structure))  # type: ignore[misc]
        if isinstance(made, bytes):
            found += _inside(der.read(made), 6)
    return list(dict.fromkeys(each for each in found if 8 < len(each) < 2000))


def _inside(element: der.Element, depth: int) -> list[bytes]:
    if not depth or not element.tag & 0x20:
        return []
    return [raw for item in element for raw in (item.raw, *_inside(item, depth - 1))]


TARGETS = (
    Target("cms", _cms, seeds.structures),
    Target("der", _der, seeds.structures),
    Target("structures", _structures, _small),
    Target("certificate", _certificate, seeds.certificates),
)
