"""Notices when certificates of different organisations have one public key: then one of them reads, or signs, for the other."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from gateway.events import KeyShared, Observer
from gateway.trust.certificate import facts, public_key_info
from gateway.trust.name import organisation_names

MAX_KEYS: Final = 20_000
MAX_OWNERS: Final = 16
"""Organisations of one key that are remembered; further ones are told each time."""


class SharedKeys:
    """The keys that were seen last, in this process, and whose they were. An alarm and no refusal: a hospital that gave itself
    another name is no attack, and to refuse its mail would harm more people than it protects.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._owners: OrderedDict[bytes, tuple[str, frozenset[str]]] = OrderedDict()

    def see(self, organisation: str, certificate: bytes) -> None:
        """``certificate`` (DER) is believed, for ``organisation`` of ours. One that names no organisation says nothing."""
        found = facts(certificate)
        names = organisation_names(found.subject_name)
        if not names:
            return
        key = hashlib.sha256(public_key_info(certificate)).digest()
        subject, others = self._owners.get(key, (found.subject, names))
        if not names & others:
            self._observer.see(KeyShared(org=organisation, subject=found.subject, other=subject))
        self._owners[key] = (found.subject, names | others if len(names | others) <= MAX_OWNERS else others)
        self._owners.move_to_end(key)
        if len(self._owners) > MAX_KEYS:
            self._owners.popitem(last=False)
