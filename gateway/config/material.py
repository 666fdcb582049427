"""The files a configuration names: they must be there and hold what they are named for. Secrets are never opened."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.mistake import Finding, KeyPath, shown
from gateway.config.model import Config, Key, KeyPurpose, Secret

MAX_FILE: Final = 16 * 1024 * 1024

T = TypeVar("T")
Findings = Generator[Finding]
Use = tuple[KeyPath, str, PublicKeyTypes]


def material(config: Config) -> Findings:
    """Every mistake in the files. ``config`` may lack sections that could not be read."""
    uses: list[Use] = []
    for name, identity in config.tls.items():
        shows = yield from _certificate(identity.certificate, ("tls", name, "certificate"))
        holds = yield from _parsed(identity.key, ("tls", name, "key"), _tls_key, "a PEM private key without a passphrase")
        if shows is not None and holds is not None and _spki(shows) != _spki(holds):
            yield Finding(
                ("tls", name, "key"), f"a key that does not belong to {identity.certificate}", "the certificate's own key"
            )
        if shows is not None:
            uses.append((("tls", name, "certificate"), "tls", shows))
    for name, key in config.key.items():
        shows = yield from _key(key, ("key", name))
        if shows is not None:
            uses.append((("key", name), key.purpose, shows))
    yield from _one_purpose(uses)
    if config.token is not None:
        yield from _present(config.token.module, ("token", "module"))
        yield from _secret(config.token.pin, ("token", "pin"))
    for name, zone in config.zone.items():
        yield from _certificate(zone.anchors, ("zone", name, "anchors"))
    for name, route in config.route.items():
        yield from _certificate(route.anchors, ("route", name, "anchors"))
    for name, organisation in config.organisation.items():
        path: KeyPath = ("organisation", name)
        yield from _certificate(organisation.anchors, (*path, "anchors"))
        yield from _parsed(
            organisation.recipients.file, (*path, "recipients", "file"), bytes.decode, "a list of addresses in UTF-8"
        )
    for name, directory in config.directory.items():
        path = ("directory", name)
        yield from _certificate(directory.anchors, (*path, "anchors"))
        yield from _secret(directory.password, (*path, "password"))
        if directory.path is not None and not directory.path.is_dir():
            yield Finding((*path, "path"), f"no directory {directory.path}", "a directory that is there")


def _key(key: Key, path: KeyPath) -> Generator[Finding, None, PublicKeyTypes | None]:
    yield from _present(key.file, (*path, "file"))
    yield from _secret(key.passphrase, (*path, "passphrase"))
    shows = yield from _certificate(key.certificate, (*path, "certificate"))
    if key.purpose is KeyPurpose.SPOOL:
        shows = yield from _parsed(key.public_key, (*path, "public_key"), serialization.load_pem_public_key, "a PEM public key")
        if shows is not None and not isinstance(shows, rsa.RSAPublicKey):
            yield Finding((*path, "public_key"), "a key that is not RSA", "an RSA public key")
    return shows


def _one_purpose(uses: Iterable[Use]) -> Findings:
    """A key that signs must not also open, and a TLS key does neither."""
    seen: dict[bytes, tuple[KeyPath, str]] = {}
    for path, purpose, key in uses:
        first, other = seen.setdefault(_spki(key), (path, purpose))
        if other != purpose:
            yield Finding(
                path, f"the key of {'.'.join(map(str, first[:2]))}, which is for '{other}'", "one purpose for each key pair"
            )


def _certificate(file: Path | None, path: KeyPath) -> Generator[Finding, None, PublicKeyTypes | None]:
    """The public key of the first certificate in ``file``."""
    return (yield from _parsed(file, path, _first_public_key, "a PEM file of certificates"))


def _first_public_key(data: bytes) -> PublicKeyTypes:
    return x509.load_pem_x509_certificates(data)[0].public_key()


def _tls_key(data: bytes) -> PublicKeyTypes:
    return serialization.load_pem_private_key(data, None).public_key()


def _parsed(file: Path | None, path: KeyPath, parse: Callable[[bytes], T], allowed: str) -> Generator[Finding, None, T | None]:
    """What ``parse`` makes of the bytes of ``file``; None where there is no file or it is wrong."""
    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        yield Finding(path, f"{_why(error)}: {file}", allowed)
        return None
    try:
        if len(data) <= MAX_FILE:
            return parse(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    yield Finding(path, f"something else in {file}", allowed)
    return None


def _secret(secret: Secret | None, path: KeyPath) -> Findings:
    yield from _present(secret.file if secret else None, (*path, "file"))


def _present(file: Path | None, path: KeyPath) -> Findings:
    """That ``file`` is there. Only the key agents may be allowed to see it, so that being kept from looking is no mistake."""
    if file is None:
        return
    try:
        found = "" if file.stat() and file.is_file() else f"no ordinary file: {shown(str(file))}"
    except PermissionError:
        return
    except (OSError, ValueError) as error:
        found = f"{_why(error)}: {file}"
    if found:
        yield Finding(path, found, "a file that is there")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or "no file name"


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
