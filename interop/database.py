"""A certificate database of NSS (cert9.db, key4.db) that holds the keys of everybody and believes the authority."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from interop.command import run
from interop.peer import Refused
from interop.people import PASSPHRASE, People, Person


def make_database(folder: Path, people: People) -> None:
    """One in ``folder``, without a password. What is not understood of it by this NSS is left out."""
    where = f"sql:{folder}"
    run("certutil", "-N", "-d", where, "--empty-password")
    run("certutil", "-A", "-d", where, "-n", "root", "-t", "C,C,C", "-i", people.root)
    for person in people.everybody:
        with suppress(Refused):  # this NSS may know neither Ed25519 nor X25519
            run("pk12util", "-i", bundle(folder, person), "-d", where, "-W", PASSPHRASE)


def bundle(folder: Path, person: Person) -> Path:
    """A PKCS#12 file, by openssl: ``cryptography`` puts no X25519 into one."""
    file = folder / f"{person.name}.p12"
    named = ["-name", person.name, "-passout", f"pass:{PASSPHRASE}"]
    run("openssl", "pkcs12", "-export", "-in", person.pem, "-inkey", person.key, "-out", file, *named)
    return file
