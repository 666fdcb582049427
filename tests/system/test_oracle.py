"""Nothing that went wrong behind a private key can be told apart from outside: not by words, and not by the clock.

Bleichenbacher's and Manger's questions (RFC 3218), Vaudenay's, and those of EFAIL, asked of a running gateway with its key on a
token: over SMTP, and of the token's own unwrapping, which is where a difference would begin.
"""

from __future__ import annotations

import secrets
import smtplib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from demo.site import Site
from gateway.edge.pkcs11 import TokenKeys
from gateway.edge.tokensetup import KeyKind, KeyUse
from gateway.mail.mime import wrap
from gateway.smime import der
from gateway.smime.algorithms import oaep_identifier
from gateway.smime.certificate import identified
from gateway.smime.keys import Digest, Oaep, Pkcs1, WrappedKey
from tests.softhsm import generate, new_token
from tests.system.lab import LABORATORY, RECIPIENT, Lab, as_peer, events, until
from tests.system.sink import Sink
from tests.timing import ALARM, ROUNDS, differ, measure, noise

pytestmark = pytest.mark.timeout(300)

DOCTOR: Final = "doctor@clinic.example"
PEER: Final = """
[[peer]]
name = "clinic"
domains = ["clinic.example"]
host = "127.0.0.1"
names = ["gateway.clinic.example"]
"""
MANY: Final = "\n[limits]\nmessages = 100000\n"

T = TypeVar("T")
Wrap = Callable[[rsa.RSAPublicKey, bytes], bytes]


# Wrapped keys


def pkcs1(public: rsa.RSAPublicKey, key: bytes) -> bytes:
    return public.encrypt(key, padding.PKCS1v15())


def oaep(public: rsa.RSAPublicKey, key: bytes) -> bytes:
    return public.encrypt(key, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))


def raw(public: rsa.RSAPublicKey, block: bytes) -> bytes:
    """The block as it is, without a padding of its own."""
    numbers = public.public_numbers()
    return pow(int.from_bytes(block), numbers.e, numbers.n).to_bytes(256)


def no_padding(public: rsa.RSAPublicKey, _: bytes) -> bytes:
    """A block that begins as no padding does, and that is below the modulus."""
    return raw(public, b"\0\xff" + secrets.token_bytes(254))


def _block(start: bytes, fill: bytes) -> Wrap:
    return lambda public, key: raw(public, start + fill * (256 - len(start) - 1 - len(key)) + b"\0" + key)


BAD_KEYS: Final[dict[str, Wrap]] = {
    "another key": lambda public, _: pkcs1(public, secrets.token_bytes(32)),
    "a key too short": lambda public, key: pkcs1(public, key[:16]),
    "no key inside": lambda public, _: pkcs1(public, b""),
    "block type 1": _block(b"\0\1", b"\x77"),
    "a first byte": _block(b"\1\2", b"\x77"),
    "a zero in the padding": _block(b"\0\2\x77\x77\0", b"\x77"),
    "no zero behind the padding": lambda public, _: raw(public, b"\0\2" + b"\x77" * 254),
    "noise": no_padding,
    "nothing": lambda *_: b"",
    "zero": lambda *_: bytes(256),
    "one": lambda *_: bytes(255) + b"\1",
    "more than the modulus": lambda *_: b"\xff" * 256,
    "too short": lambda public, key: pkcs1(public, key)[:255],
    "too long": lambda public, key: b"\0" + pkcs1(public, key),
}


# Messages


@dataclass(frozen=True)
class Reader:
    """The gateway's decryption certificate."""

    certificate: bytes

    @property
    def public(self) -> rsa.RSAPublicKey:
        key = x509.load_der_x509_certificate(self.certificate).public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        return key

    def message(self, wrapped: bytes, content: bytes, *, gcm: bool = False, oaep: bool = False) -> bytes:
        """A mail with that wrapped key and that ciphertext (RFC 5652 6.1); for ``gcm`` it ends with the tag (RFC 5083)."""
        transport = oaep_identifier(Digest.SHA256) if oaep else der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL)
        identifier = identified(self.certificate).issuer_and_serial
        recipient = der.sequence(der.integer(0), identifier, transport, der.octet_string(wrapped))
        content, tag = (content[:-16], der.octet_string(content[-16:])) if gcm else (content, b"")
        parameters = der.sequence(der.octet_string(bytes(12)), der.integer(16)) if gcm else der.octet_string(bytes(16))
        algorithm = der.sequence(der.oid(f"2.16.840.1.101.3.4.1.{46 if gcm else 42}"), parameters)
        encrypted = der.sequence(der.oid("1.2.840.113549.1.7.1"), algorithm, der.element(0x80, content))
        inside = der.sequence(der.integer(0), der.set_of(recipient), encrypted + tag)
        kind = "1.2.840.113549.1.9.16.1.23" if gcm else "1.2.840.113549.1.7.3"
        structure = der.sequence(der.oid(kind), der.element(0xA0, inside))
        return (
            f"From: {DOCTOR}\r\nTo: {RECIPIENT}\r\nMessage-ID: <{secrets.token_hex(8)}@clinic.example>\r\nMIME-Version: 1.0\r\n"
            "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n"
        ).encode() + wrap(structure)


def cbc(key: bytes, text: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return encryptor.update(text) + encryptor.finalize()


def padded(text: bytes) -> bytes:
    return text + bytes((16 - len(text) % 16,)) * (16 - len(text) % 16)


KEY: Final = bytes(range(32))
TEXT: Final = b"Content-Type: text/plain\r\n\r\n" + b"all well\r\n" * 40
SEALED: Final = b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
INSIDE: Final = {
    "no mail": b"\0" * 100,
    "a broken header": b"no field\r\n\r\nhello\r\n",
    "lines of two kinds": TEXT + b"a\nb\r\n",
    "noise in a text": TEXT + b"\xb1\x9d\r\n",
    "broken base64 inside": SEALED + b"!!!!\r\n",
    "a broken structure inside": SEALED + b"MIAGCSqGSIb3\r\n",
    "two content types inside": b"Content-Type: application/pkcs7-mime\r\nContent-Type: text/plain\r\n\r\nhello\r\n",
}


def faults(reader: Reader) -> Iterator[tuple[str, bytes]]:
    """Everything that can be wrong behind the private key."""
    public, good = reader.public, cbc(KEY, padded(TEXT))
    sealed = Cipher(algorithms.AES(KEY), modes.GCM(bytes(12))).encryptor()
    tagged = sealed.update(TEXT) + sealed.finalize() + sealed.tag
    for name, wrong in BAD_KEYS.items():
        yield f"key: {name}", reader.message(wrong(public, KEY), good)
        yield f"OAEP: {name}", reader.message(wrong(public, KEY), good, oaep=True)
    yield "OAEP: another key", reader.message(oaep(public, secrets.token_bytes(32)), good, oaep=True)
    yield "GCM: another key", reader.message(pkcs1(public, secrets.token_bytes(32)), tagged, gcm=True)
    yield "GCM: no padding", reader.message(no_padding(public, KEY), tagged, gcm=True)
    yield "GCM: a tag", reader.message(pkcs1(public, KEY), tagged[:-1] + bytes((tagged[-1] ^ 1,)), gcm=True)
    yield "GCM: a bit", reader.message(pkcs1(public, KEY), bytes((tagged[0] ^ 1,)) + tagged[1:], gcm=True)
    for length in (0, 17, 255):
        yield f"CBC: padding {length}", reader.message(pkcs1(public, KEY), cbc(KEY, padded(TEXT)[:-1] + bytes((length,))))
    yield "CBC: half a block", reader.message(pkcs1(public, KEY), good[:-8])
    yield "CBC: no block", reader.message(pkcs1(public, KEY), b"")
    for name, text in INSIDE.items():
        yield f"inside: {name}", reader.message(pkcs1(public, KEY), cbc(KEY, padded(text)))


# The gateway


@dataclass
class World:
    """A laboratory's gateway that holds what does not open, and a peer who sends it."""

    site: Site
    reader: Reader
    identity: tuple[Path, Path]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("oracle")
    with Sink(folder) as behind, Lab(folder) as lab:
        site = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        with (site.folder / "zones" / "lab.toml").open("a") as zone:
            zone.write(PEER)
        site.add(MANY)
        identity = lab.ca.gateway("gateway.clinic.example").write(folder, "clinic")
        certificate = x509.load_pem_x509_certificate((site.folder / "certificates" / "laboratory-decrypt.pem").read_bytes())
        site.start()
        yield World(site, Reader(certificate.public_bytes(Encoding.DER)), identity)


def say(session: smtplib.SMTP, message: bytes) -> tuple[tuple[int, bytes], float]:
    """Every reply to one mail, and how long the last one took from the end of the data."""
    session.send(f"MAIL FROM:<{DOCTOR}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n")  # RFC 2920
    assert [session.getreply()[0] for _ in range(3)] == [250, 250, 354]
    data = message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    session.send(data)
    before = time.perf_counter()
    reply = session.getreply()
    return reply, time.perf_counter() - before


def told(site: Site, mail: str) -> list[dict[str, Any]]:
    """What the audit says of one mail, without what differs for each: who, when, in which file."""
    moving = {"at", "seq", "prev", "mail", "parent", "size", "message_id"}
    return [{key: value for key, value in line.items() if key not in moving} for line in site.audit() if line.get("mail") == mail]


def test_every_fault_is_told_alike(world: World) -> None:
    """One reply in the session, given before anything is opened; one reason in the audit, and no other word that differs."""
    sent: dict[str, str] = {}
    with as_peer(world.site, world.identity) as session:
        for name, message in faults(world.reader):
            (code, text), _ = say(session, message)
            sent[name] = text.decode().rpartition(" ")[2]
            assert (code, text.decode().removesuffix(sent[name])) == (250, "2.0.0 Accepted as "), name
    until(lambda: len(events(world.site, "mail_held")) >= len(sent), "all are held")
    answers = {name: told(world.site, mail) for name, mail in sent.items()}
    first = answers["key: another key"]
    (opened,) = [line for line in first if line["event"] == "mail_opened"]
    assert (opened["verdict"], opened["encrypted"], opened["reasons"]) == ("undecryptable", True, ["INTEGRITY"])
    assert {line["event"] for line in first} >= {"mail_accepted", "mail_opened", "mail_held"}
    assert {name: lines for name, lines in answers.items() if lines != first} == {}
    log = (world.site.folder / "gateway.log").read_text().lower()
    assert not any(word in log for word in ("padding", "integrity", "oaep", "tag"))


# The clock


def compare(good: Iterable[T], bad: Iterable[T], take: Callable[[T], float], what: str) -> None:
    """No difference between the two is found; were the second later by twice the interquartile range, it would be.

    Everything is made before the first is taken: what makes one kind would leave other things in the caches than what makes the
    other.
    """
    made = {"good": iter(list(good)), "bad": iter(list(bad))}
    taken = measure({name: lambda each=each: take(next(each)) for name, each in made.items()})  # type: ignore[misc]
    delay = 2 * noise(taken["bad"])
    found, control = (differ(taken["good"], [each + more for each in taken["bad"]]) for more in (0, delay))
    print(f"{what}: {found:.1f} deviations of {ALARM}; were it {delay * 1e6:.1f} us later: {control:.1f}")
    assert control > ALARM, f"{what}: a delay of {delay * 1e6:.1f} us would not be found"
    assert found < ALARM, f"{what}: a bad padding can be told from a wrong key by time"


SCHEMES: Final[dict[str, Wrap]] = {"pkcs1": pkcs1, "oaep": oaep}


def wrapped_keys(scheme: str, public: rsa.RSAPublicKey) -> tuple[list[bytes], list[bytes]]:
    """As many keys as rounds, each another: with a good padding, and with a bad one."""
    good, bad = ([wrap_it(public, secrets.token_bytes(32)) for _ in range(ROUNDS)] for wrap_it in (SCHEMES[scheme], no_padding))
    return good, bad


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_bad_padding_takes_the_time_of_a_wrong_key_over_smtp(world: World, scheme: str) -> None:
    """From the end of the data to the reply, in turn: 500 mails with a good padding around a wrong key, 500 with a bad one."""
    content = secrets.token_bytes(2048)
    keys = wrapped_keys(scheme, world.reader.public)
    good, bad = ([world.reader.message(key, content, oaep=scheme == "oaep") for key in each] for each in keys)
    with as_peer(world.site, world.identity) as session:

        def take(message: bytes) -> float:
            reply, taken = say(session, message)
            assert reply[0] == 250
            return taken

        compare(good, bad, take, f"{scheme} over SMTP")


def unwrapping(unwrap: Callable[[WrappedKey], bytes], scheme: str) -> Callable[[bytes], float]:
    """How long one takes, by the time this thread had a processor: what others do there at the time is not counted."""

    def take(wrapped: bytes) -> float:
        request = Pkcs1(wrapped, 32) if scheme == "pkcs1" else Oaep(wrapped, 32, Digest.SHA256, Digest.SHA256)
        before = time.thread_time()
        unwrap(request)
        return time.thread_time() - before

    return take


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_bad_padding_takes_the_time_of_a_wrong_key_at_the_token(tmp_path: Path, scheme: str) -> None:
    """What the agent does, without sockets and neighbours."""
    token = new_token(tmp_path / "hsm")
    public = load_der_public_key(generate(token, tmp_path, decrypt=(KeyKind.RSA_2048, KeyUse.DECRYPT))["decrypt"])
    assert isinstance(public, rsa.RSAPublicKey)
    keys = TokenKeys(token, tmp_path / "keys")
    try:
        keys.open()
        compare(*wrapped_keys(scheme, public), unwrapping(partial(keys.unwrap, "decrypt"), scheme), f"{scheme} at the token")
    finally:
        keys.close()
