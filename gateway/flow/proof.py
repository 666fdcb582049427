"""What a verdict ``verified`` stands on."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.flow.evidence import Signed
from gateway.smime.cms import SignedData
from gateway.smime.verify import Checked


@dataclass(frozen=True, slots=True)
class Proof:
    """The signature by ``signer``, who is the author; who ``vouched`` for him; and the layer it is in, with what came along."""

    signer: Checked
    vouched: Signed
    signed: SignedData
