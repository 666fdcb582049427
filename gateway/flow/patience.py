"""Mail whose signer may be revoked, as far as anybody can say now, waits a while for the word (``revocation = "hard"``)."""

from __future__ import annotations

from gateway.config.model import Inbound
from gateway.config.numbers import Retry
from gateway.mail.verdict import Judged, Verdict
from gateway.outcome import Reason
from gateway.trust.moment import HOUR, MINUTE


def worth_waiting(verdict: Verdict, arrived: int, now: int, inbound: Inbound, retry: Retry) -> bool:
    """Whether a mail that arrived at ``arrived`` is opened again later, for nothing but a CRL or an OCSP answer is missing.

    It waits for ``revocation_wait_minutes`` at most, and never until its sender would hear of it: that it was opened, and what
    was inside, depends on a private key. Then it is delivered as what it is. Of a clock that was set back since, at most as much is
    believed: nobody knows how long the mail has waited.
    """
    unknown = any(
        Reason.REVOCATION_UNKNOWN in signer.reasons and signer.trust == "distrusted"
        for layer in verdict.layers
        for signer in layer.signers
    )
    silent_for = int((retry.warn_hours or retry.give_up_hours) * HOUR)
    patience = min(int(inbound.revocation_wait_minutes * MINUTE), silent_for)
    return verdict.judged is Judged.SIGNED_UNVERIFIED and unknown and abs(now - arrived) < patience
