"""gpgsm of GnuPG, with a home of its own: its certificates imported, its keys written where its agent looks for them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interop.case import Cipher, Encryption, Form, Management, Scheme, Signing
from interop.command import run
from interop.peer import NotOffered
from interop.people import People, Person

_DIGESTS: Final = {Scheme.P384: "SHA384", Scheme.P521: "SHA512", Scheme.ED25519: "SHA512"}
_CIPHERS: Final = {Cipher.AES128_CBC: "AES128", Cipher.AES256_CBC: "AES256", Cipher.TRIPLE_DES: "3DES"}
_NOISE: Final = "Signature made|using \\w+ key|encrypted to|not checked due to|DBG|should not have been used|stale lockfile"


class Gpgsm:
    """A :class:`interop.cmstool.CmsTool`."""

    name = "gpgsm"

    def __init__(self, folder: Path, people: People) -> None:
        self._people = people
        self._home = folder / "gnupg"
        self._home.mkdir(mode=0o700)
        fingerprint = people.ca.certificate.fingerprint(SHA1()).hex().upper()  # noqa: S303 - its name for a certificate
        (self._home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
        (self._home / "gpgsm.conf").write_text("batch\nyes\ndisable-crl-checks\ndisable-policy-checks\n")
        self._run("--import", people.root, people.issuer, *(person.pem for person in people.everybody))
        keys = self._home / "private-keys-v1.d"
        keys.mkdir(mode=0o700, exist_ok=True)
        for person in people.everybody:
            private = _private_key(person)
            if private is not None:
                (keys / f"{self._grip(person)}.key").write_bytes(private)

    @property
    def version(self) -> str:
        """As it says."""
        return self._run("--version").decode().split("\n")[0].rpartition(" ")[2]

    def close(self) -> None:
        """Ends its agent."""
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], timeout=30, check=False)

    def verify(self, structure: bytes, content: bytes | None) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        signature = self._file("signature", structure)
        if content is None:
            return self._run("--output", "-", "--verify", signature)
        self._run("--verify", signature, self._file("content", content))
        return content

    def decrypt(self, structure: bytes) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        return self._run("--decrypt", data=structure)

    def sign(self, content: bytes, signing: Signing) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        if signing.scheme is Scheme.PSS:
            raise NotOffered("no option for PSS")
        signer = self._people.signer(signing)
        options = ["--detach-sign"] if signing.form is Form.CLEAR else ["--sign"]
        return self._run(
            "--local-user", signer.address, "--digest-algo", _DIGESTS.get(signing.scheme, "SHA256"), *options, data=content
        )

    def encrypt(self, content: bytes, encryption: Encryption) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        if encryption.cipher not in _CIPHERS:
            raise NotOffered("no AuthEnvelopedData")
        if Management.OAEP in encryption.readers:
            raise NotOffered("no option for OAEP")
        to = [word for reader in self._people.reading(encryption) for word in ("--recipient", reader.address)]
        return self._run(*to, "--cipher-algo", _CIPHERS[encryption.cipher], "--encrypt", data=content)

    def _run(self, *arguments: str | Path, data: bytes = b"") -> bytes:
        environment = {"GNUPGHOME": str(self._home), "LC_ALL": "C"}
        return run("gpgsm", *arguments, data=data, environment=environment, noise=_NOISE)

    def _file(self, name: str, data: bytes) -> Path:
        path = self._home / name
        path.write_bytes(data)
        return path

    def _grip(self, person: Person) -> str:
        """What its agent calls the key of ``person``."""
        listed = self._run("--with-colons", "--with-keygrip", "--list-keys", person.address).decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("grp:"))


def _private_key(person: Person) -> bytes | None:
    """The key as an S-expression of libgcrypt; None for the kinds this version has none of."""
    key: object = person.issued.key
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        public = numbers.public_numbers
        # libgcrypt wants p < q and u the inverse of p modulo q: the other way round than PKCS #1
        values = {"n": public.n, "e": public.e, "d": numbers.d, "p": numbers.q, "q": numbers.p, "u": numbers.iqmp}
        return _list(b"private-key", _list(b"rsa", *(_list(name.encode(), _positive(value)) for name, value in values.items())))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        curve = _list(b"curve", f"NIST P-{key.key_size}".encode())
        secret = _list(b"d", _positive(key.private_numbers().private_value))
        return _list(b"private-key", _list(b"ecc", curve, _list(b"q", point), secret))
    return None


class _Expression(bytes):
    """Already written."""


def _list(*parts: bytes) -> _Expression:
    return _Expression(
        b"(%b)" % b"".join(part if isinstance(part, _Expression) else b"%d:%b" % (len(part), part) for part in parts)
    )


def _positive(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1)
