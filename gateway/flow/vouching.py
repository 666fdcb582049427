"""Evidence about certificates that people show: judged like those that are found, by whoever vouched for the people."""

from __future__ import annotations

from gateway.flow.evidence import Evidence
from gateway.outcome import Reason
from gateway.trust.along import Along
from gateway.trust.judgement import Distrusted, Purpose, Trusted


class Vouching(Evidence):
    """Answers for what came in a mail, too."""

    async def shown(
        self, organisation: str, zone: str | None, certificate: bytes, along: Along, at: int, /
    ) -> Trusted | Distrusted:
        """Whether ``certificate`` (DER) can be encrypted to, by the anchors of ``zone``, or of ``organisation`` outside of all.

        ``along`` came with it; ``at`` in microseconds UTC. Whom it names is not asked.
        """
        circle = self._circles.organisations.get(organisation) if zone is None else self._circles.zones.get(zone)
        if circle is None:
            return Distrusted(Reason.CHAIN, "nobody vouches for it")
        return await self._judge(certificate, along, circle, Purpose.SMIME_RECIPIENT, at)
