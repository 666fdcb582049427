"""What is given to a command by hand, in files: keys with their certificates, anchors, CRLs. No configuration needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from gateway.edge.anchorfile import read_certificates
from gateway.edge.keyfile import FileKey
from gateway.outcome import GatewayError
from gateway.smime import der
from gateway.smime.certificate import identified
from gateway.trust.crl import Crl
from gateway.trust.given import GivenTrust
from gateway.trust.judgement import Revocation

MAX_MESSAGE: Final = 512 * 1024 * 1024
MAX_FILE: Final = 64 * 1024 * 1024
_BESIDE: Final = (".pem", ".crt", ".cer")


class GivenError(Exception):
    """A file is not what it was given for. The text is for whoever gave it, and quotes nothing of a secret."""


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A private key and its certificates (DER): its own first, then those of the same file."""

    name: str
    key: FileKey
    certificates: tuple[bytes, ...]


def read_trust(trust: Iterable[Path], crls: Iterable[Path], revocation: Revocation) -> GivenTrust:
    """Anchors (PEM or DER) and CRLs (PEM or DER). Raises :class:`GivenError`."""
    anchors = [certificate for path in trust for certificate in read_given(path)]
    return GivenTrust.of(anchors, [crl for path in crls for crl in _read_crls(path)], revocation)


def read_given(path: Path) -> tuple[bytes, ...]:
    """The certificates in ``path``, DER. Raises :class:`GivenError`."""
    try:
        return read_certificates(path)
    except GatewayError as error:
        raise GivenError(error.detail) from error
    except OSError as error:
        raise GivenError(f"{path}: {error.strerror}") from error


def read_keys(paths: Sequence[Path], passphrase: str | None) -> list[GivenKey]:
    """The private keys among ``paths``: PEM or PKCS#12. The certificate of each is looked for in its own file, then in the other
    files, then beside it (NAME.pem, .crt, .cer). Raises :class:`GivenError`.
    """
    held = {path: _parse(path, passphrase) for path in paths}
    keys: list[GivenKey] = []
    for path, (private, certificates) in held.items():
        for number, key in enumerate(private, 1):
            others = (found for other, (_, found) in held.items() if other != path)
            own = _belonging(key, [certificates, *others, *_beside(path)])
            if own is None:
                raise GivenError(f"{path}: the certificate of this key is in none of the files; give it as one more")
            keys.append(GivenKey(str(path) if number == 1 else f"{path} ({number})", key, own))
    if paths and not keys:
        raise GivenError(f"{paths[0]}: no private key")
    return keys


def _parse(path: Path, passphrase: str | None) -> tuple[tuple[FileKey, ...], tuple[bytes, ...]]:
    """The private keys in ``path``, if there are any, and the certificates."""
    data = _read(path)
    if b"-----BEGIN" in data:
        certificates = read_given(path) if b"-----BEGIN CERTIFICATE-----" in data else ()
        return (_load(path, passphrase) if b"PRIVATE KEY-----" in data else ()), certificates
    if _is_certificate(data):
        return (), (data,)
    keys = _load(path, passphrase)
    _, own, others = load_key_and_certificates(data, None if passphrase is None else passphrase.encode())
    return keys, tuple(each.public_bytes(Encoding.DER) for each in (own, *others) if each is not None)


def _load(path: Path, passphrase: str | None) -> tuple[FileKey, ...]:
    try:
        return FileKey.load_all(path, passphrase)
    except GatewayError as error:
        raise GivenError(error.detail) from error


def _belonging(key: FileKey, files: Iterable[Sequence[bytes]]) -> tuple[bytes, ...] | None:
    """The certificate of ``key`` in the first of ``files`` that has it, and what else that file holds behind it."""
    for certificates in files:
        own = [certificate for certificate in certificates if _is_of(key, certificate)]
        if own:
            return (own[0], *(each for each in certificates if each not in own))
    return None


def _is_of(key: FileKey, certificate: bytes) -> bool:
    """By the key itself: a certificate for PSS alone calls RSA by another name (RFC 4055 1.2) than the file may."""
    try:
        return _bits(identified(certificate).spki) == _bits(key.spki)
    except GatewayError:
        return False


def _bits(spki: bytes) -> bytes:
    _, bits = der.read(spki)
    return bits.raw


def _beside(path: Path) -> Iterable[Sequence[bytes]]:
    for suffix in _BESIDE:
        other = path.with_suffix(suffix)
        if other != path and other.is_file():
            try:
                yield read_given(other)
            except GivenError:
                continue


def _is_certificate(data: bytes) -> bool:
    try:
        x509.load_der_x509_certificate(data)
    except ValueError:
        return False
    return True


def _read_crls(path: Path) -> list[Crl]:
    data = _read(path)
    try:
        if b"-----BEGIN" in data:
            return [Crl(x509.load_pem_x509_crl(data).public_bytes(Encoding.DER))]
        return [Crl(data)]
    except (ValueError, GatewayError) as error:
        raise GivenError(f"{path}: not a CRL") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise GivenError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise GivenError(f"{path}: larger than {MAX_FILE} bytes")
    return data
