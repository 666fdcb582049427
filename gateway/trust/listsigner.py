"""Who may sign the list of a zone: a certificate known by what its authority wrote into it, not by its digest.

The signer of a list renews his certificate every few years, and the list must be believed across that. What stays is who issued it,
whose address it names, and under which policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.mail.address import Address
from gateway.outcome import Reason
from gateway.trust.certificate import CertificateError, facts
from gateway.trust.judgement import Distrusted
from gateway.trust.name import NormalName


@dataclass(frozen=True, slots=True)
class ListSigner:
    """``issuer`` is the whole name of the authority, ``address`` one that the certificate shows, ``policy`` an OID it was issued
    under (RFC 5280 4.2.1.4).
    """

    issuer: NormalName
    address: Address
    policy: str

    def other(self, certificate: bytes) -> Distrusted | None:
        """Why ``certificate`` (DER), which has been judged as a list signer's before, is somebody else's; None where it is this
        one's.
        """
        try:
            shown = facts(certificate)
        except CertificateError as error:
            return Distrusted(error.reason, error.detail)
        if shown.issuer_name != self.issuer:
            return Distrusted(Reason.CHAIN, f"{shown.subject}: issued by {shown.issuer}, who does not certify the list's signer")
        if self.policy not in shown.policies:
            return Distrusted(Reason.CHAIN, f"{shown.subject}: not issued under policy {self.policy}")
        if not any(email.key == self.address.key for email in shown.emails):
            return Distrusted(Reason.ADDRESS_MISMATCH, f"{shown.subject}: does not name {self.address}")
        return None
