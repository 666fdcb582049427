"""docs/library.md: the names it calls stable are there as they are told, and every example does what it says.

The examples run in the order of the page, in one folder: what one writes the next may read. Beside them stand a laboratory that
writes, a cardiology that reads, and openssl.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Final

import pytest

import gateway.library
import gateway.smime
from gateway.edge.keyfile import FileKey
from gateway.library import Judged, Opened, Trusted
from gateway.smime import Checked, Mechanism, Reason, Signature, WrappedKey
from tests.docs.test_docs import ROOT
from tests.pki import Ca
from tests.smime.openssl import decrypt, openssl, verify_message

PAGE: Final = (ROOT / "docs" / "library.md").read_text()
MODULES: Final = {"gateway.library": gateway.library, "gateway.smime": gateway.smime}
MAX_LINES: Final = 10
LARGE: Final = 24 << 20
MAX_MEMORY: Final = 8 << 20  # a file system may have its files read through buffers of 4 MiB

AUTHOR, READER = "results@laboratory.example", "cardiology@hospital.example"
LETTER = f"From: {AUTHOR}\nTo: {READER}\nSubject: Result of 2 March\n\nyes, 50 mg\n".encode()


# Names


def signature(of: Callable[..., Any]) -> str:
    """Its parameters: a default is ``=...``, whatever it is."""
    told, star, positional = [], False, False
    for each in inspect.signature(of).parameters.values():
        if each.name == "self":
            continue
        if positional and each.kind is not each.POSITIONAL_ONLY:
            told.append("/")
        positional = each.kind is each.POSITIONAL_ONLY
        if each.kind is each.KEYWORD_ONLY and not star:
            told.append("*")
            star = True
        told.append(each.name + ("" if each.default is each.empty else "=..."))
    return ", ".join([*told, "/"] if positional else told)


def members(of: type) -> Iterator[str]:
    """Its public methods and properties, as they are declared."""
    for name, each in vars(of).items():
        if name.startswith("_"):
            continue
        if isinstance(each, property):
            yield name
        elif inspect.isfunction(each):
            yield f"{name}({signature(each)})"
        elif isinstance(each, classmethod):
            yield f"{name}({signature(each.__get__(None, of))})"


def written(of: object) -> str:
    """The cell of a name."""
    return "[Reasons](reasons.md)" if of is Reason else f"`{shape(of)}`"


def shape(of: object) -> str:
    """What a caller writes: the parameters of a function; those of a class, and its methods; the members of an enumeration."""
    if isinstance(of, UnionType):
        return ", ".join(each.__name__ for each in of.__args__)
    if inspect.isfunction(of):
        return f"({signature(of)})"
    assert isinstance(of, type)
    if issubclass(of, Enum):
        return " ".join(each.name for each in of)
    made = [] if getattr(of, "_is_protocol", False) else [f"({signature(of)})"]
    return " ".join([*made, *members(of)])


@pytest.mark.parametrize("name", MODULES)
def test_every_stable_name_is_told_as_it_is(name: str) -> None:
    module = MODULES[name]
    section = PAGE.split(f"### {name}\n", 1)[1].split("\n### ", 1)[0]
    told = {each[0]: each[1] for each in re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", section, re.MULTILINE)}
    assert told == {each: written(getattr(module, each)) for each in module.__all__}
    assert all(inspect.getdoc(getattr(module, each)) for each in module.__all__)


def test_every_stable_name_has_one_place() -> None:
    assert not set(gateway.library.__all__) & set(gateway.smime.__all__)


def test_every_reason_of_the_errors_is_one() -> None:
    table = PAGE.split("## Errors\n", 1)[1].split("\n## ", 1)[0]
    cells = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")]
    told = {each for cell in cells[1:] for each in re.findall(r"`(\w+)`", cell)}
    assert told
    assert told <= set(Reason)


# The examples


@dataclass(frozen=True)
class Example:
    """A piece of Python of the page, under its title."""

    title: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Those that are written, not imported."""
        return [line for line in self.text.splitlines() if line.strip() and not line.startswith(("import ", "from "))]


EXAMPLES: Final = [
    Example(title, text)
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    for title in section.splitlines()[:1]
    for text in re.findall(r"^```python\n(.+?)^```$", section, re.MULTILINE | re.DOTALL)
]


@dataclass(frozen=True)
class Elsewhere:
    """A service that holds private keys."""

    keys: dict[str, FileKey]

    def sign(self, name: str, data: bytes, mechanism: Mechanism) -> bytes:
        return self.keys[name].sign(data, mechanism)

    def unwrap(self, name: str, wrapped: WrappedKey) -> bytes:
        return self.keys[name].unwrap(wrapped)


@dataclass(frozen=True)
class Awaited:
    """The same, waited for."""

    service: Elsewhere

    async def sign(self, name: str, data: bytes, mechanism: Mechanism) -> bytes:
        return await asyncio.to_thread(self.service.sign, name, data, mechanism)

    async def unwrap(self, name: str, wrapped: WrappedKey) -> bytes:
        return await asyncio.to_thread(self.service.unwrap, name, wrapped)


@dataclass(frozen=True)
class Ran:
    """What the examples left behind: files in ``folder``, and of each the ``names`` it bound and the most ``memory`` it held."""

    folder: Path
    names: dict[str, dict[str, Any]]
    memory: dict[str, int]

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def opened(self, title: str) -> Opened:
        opened = self.names[title]["opened"]
        assert isinstance(opened, Opened)
        return opened


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder, ca = tmp_path_factory.mktemp("library"), Ca.root()
    people = {"results": ca.signer(AUTHOR, "rsa2048"), "cardiology": ca.reader(READER)}
    for name, issued in people.items():
        issued.write(folder, name)
    (folder / "ca.pem").write_bytes(ca.pem)
    (folder / "ca.crl").write_bytes(ca.crl(at=datetime.now(UTC).replace(microsecond=0)))
    (folder / "letter.eml").write_bytes(LETTER)
    (folder / "archive").write_bytes(os.urandom(LARGE))
    service = Elsewhere({name: FileKey(issued.key) for name, issued in people.items()})
    ran = Ran(folder, {}, {})
    for each in EXAMPLES:
        names = {"__name__": each.title, "service": Awaited(service) if "await service" in each.text else service}
        code = compile(each.text, each.title, "exec")
        tracemalloc.start()
        with contextlib.chdir(folder):
            exec(code, names)  # noqa: S102 - what our own page says
        ran.memory[each.title] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        ran.names[each.title] = names
    return ran


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_an_example_has_ten_lines(example: Example) -> None:
    assert len(example.lines) <= MAX_LINES


def test_openssl_verifies_the_letter_that_was_signed(ran: Ran) -> None:
    assert b"yes, 50 mg" in verify_message(ran.read("signed.eml"), ran.folder / "ca.pem")


def test_openssl_decrypts_the_letter_that_was_encrypted(ran: Ran) -> None:
    sealed = ran.read("encrypted.eml")
    assert b"Result of 2 March" not in sealed
    inside = decrypt(sealed, ran.folder / "cardiology.pem", ran.folder / "cardiology.key", "SMIME")
    assert b"yes, 50 mg" in inside


def test_openssl_decrypts_then_verifies_what_was_signed_then_encrypted(ran: Ran) -> None:
    inside = decrypt(ran.read("protected.eml"), ran.folder / "cardiology.pem", ran.folder / "cardiology.key", "SMIME")
    assert b"yes, 50 mg" in verify_message(inside, ran.folder / "ca.pem")


@pytest.mark.parametrize("title", ["Decrypt and verify", "Decrypt and verify, awaited"])
def test_what_was_protected_is_opened_and_verified(ran: Ran, title: str) -> None:
    opened = ran.opened(title)
    assert opened.verdict.judged is Judged.VERIFIED
    assert opened.verdict.by is not None
    assert opened.verdict.by.addresses == (AUTHOR,)
    assert b"\r\nSubject: Result of 2 March\r\n" in opened.message
    assert opened.message.endswith(b"yes, 50 mg\r\n")


def test_what_openssl_protected_is_opened_and_verified_as_the_page_says(ran: Ran, tmp_path: Path) -> None:
    for name in ("ca.pem", "cardiology.pem", "cardiology.key"):
        shutil.copy(ran.folder / name, tmp_path)
    by = ("-signer", ran.folder / "results.pem", "-inkey", ran.folder / "results.key")
    signed = openssl("cms", "-sign", *by, data=b"Content-Type: text/plain\r\n\r\nyes, 50 mg\r\n")
    fields = ("-from", AUTHOR, "-to", READER, "-subject", "by openssl")
    sealed = openssl("cms", "-encrypt", "-aes256", *fields, ran.folder / "cardiology.pem", data=signed)
    (tmp_path / "protected.eml").write_bytes(sealed)
    for title in ("Decrypt and verify", "Decrypt and verify, awaited"):
        names: dict[str, Any] = {"__name__": title}
        with contextlib.chdir(tmp_path):
            exec(next(each.text for each in EXAMPLES if each.title == title), names)  # noqa: S102 - what our own page says
        assert names["opened"].verdict.judged is Judged.VERIFIED
        assert names["opened"].message.endswith(b"yes, 50 mg\r\n")


def test_a_certificate_that_is_believed(ran: Ran) -> None:
    assert isinstance(ran.names["Ask whether a certificate is to be believed"]["answer"], Trusted)


@pytest.mark.parametrize("title", ["Blocking", "Awaited"])
def test_a_key_elsewhere_signs_and_unwraps(ran: Ran, title: str) -> None:
    opened = ran.opened(title)
    assert b"\r\nyes, 50 mg\r\n" in opened.message
    assert opened.verdict.judged is Judged.SIGNED_UNVERIFIED  # nobody was named to be believed
    assert [each.signature for layer in opened.verdict.layers for each in layer.signers] == ["good"]
    assert b"yes, 50 mg" in verify_message(
        b"Content-Type: " + opened.message.split(b"\r\nContent-Type: ", 1)[1], ran.folder / "ca.pem"
    )


def test_openssl_and_the_library_decrypt_the_file(ran: Ran) -> None:
    archive = ran.read("archive")
    assert decrypt(ran.read("archive.p7m"), ran.folder / "cardiology.pem", ran.folder / "cardiology.key") == archive
    assert ran.read("archive.opened") == archive


def test_openssl_and_the_library_verify_the_file(ran: Ran) -> None:
    given = ("-inform", "DER", "-content", ran.folder / "archive", "-binary", "-CAfile", ran.folder / "ca.pem")
    assert openssl("cms", "-verify", *given, data=ran.read("archive.p7s")) == ran.read("archive")
    (checked,) = ran.names["Verify a file of any size"]["checked"]
    assert isinstance(checked, Checked)
    assert checked.signature is Signature.GOOD


def test_a_file_of_any_size_takes_no_more_memory(ran: Ran) -> None:
    sizes = {title: held for title, held in ran.memory.items() if title.endswith("of any size")}
    assert len(sizes) == 4
    assert all(held < MAX_MEMORY for held in sizes.values()), sizes
