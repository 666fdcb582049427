"""cmsutil of NSS, with a certificate database of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from interop.case import Encryption, Form, Management, Scheme, Signing
from interop.command import run
from interop.database import make_database
from interop.peer import NotOffered, Refused
from interop.people import People

_DIGESTS: Final = {Scheme.P384: "SHA384", Scheme.P521: "SHA512", Scheme.ED25519: "SHA512"}


class Nss:
    """A :class:`interop.cmstool.CmsTool`."""

    name = "NSS cmsutil"

    def __init__(self, folder: Path, people: People) -> None:
        self._people = people
        self._folder = folder / "nss"
        self._folder.mkdir()
        make_database(self._folder, people)

    @property
    def version(self) -> str:
        """Of its package, since it has no option to say it."""
        return run("dpkg-query", "-W", "-f", "${Version}", "libnss3-tools").decode().partition(":")[2].partition("-")[0]

    def verify(self, structure: bytes, content: bytes | None) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        beside: list[str | Path] = []
        if content is not None:
            path = self._folder / "content"
            path.write_bytes(content)
            beside = ["-c", path]
        return self._run("-D", "-u", "4", *beside, data=structure)

    def decrypt(self, structure: bytes) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        return self._run("-D", data=structure)

    def sign(self, content: bytes, signing: Signing) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        if signing.scheme is Scheme.PSS:
            raise NotOffered("no option for PSS")
        signer = self._people.signer(signing)
        beside = ["-T"] if signing.form is Form.CLEAR else []
        return self._run(
            "-S", "-N", signer.name, "-Y", "NONE", "-G", "-H", _DIGESTS.get(signing.scheme, "SHA256"), *beside, data=content
        )

    def encrypt(self, content: bytes, encryption: Encryption) -> bytes:
        """See :class:`interop.cmstool.CmsTool`."""
        if encryption.cipher is not encryption.of_nss or Management.OAEP in encryption.readers:
            raise NotOffered("no option for it")
        to = [word for reader in self._people.reading(encryption) for word in ("-r", reader.address)]
        return self._run("-E", *to, data=content)

    def _run(self, *arguments: str | Path, data: bytes) -> bytes:
        try:
            return run("cmsutil", *arguments, "-d", f"sql:{self._folder}", data=data)
        except Refused as error:  # the error code behind the words is often that of something before
            raise Refused(re.sub(r": (SEC|PR)_\w+: .*", "", str(error))) from error
