"""Everything that happens, one frozen dataclass each. ``edge.observe`` turns each into one audit line and one metric.

Fields named ``sender``, ``recipients`` and ``address`` go to the audit and never to application logs. No event has a
field for a subject, a body or a secret, so none can leak.
"""

from __future__ import annotations

from gateway.events.event import Event, Observer
from gateway.events.evidence import (
    CertificateChanged,
    CertificateHarvested,
    CertificateWaiting,
    Fetched,
    FetchFailed,
    KeyShared,
    RevocationStale,
)
from gateway.events.mail import (
    CommandRefused,
    MailAccepted,
    MailBroken,
    MailDeferred,
    MailDelivered,
    MailDropped,
    MailFailed,
    MailHeld,
    MailOpened,
    MailProtected,
    MailRefused,
    MailReleased,
    MailUnprotected,
    PeerAllowed,
    PeerRejected,
)
from gateway.events.running import (
    AuditSigned,
    ConfigurationLoaded,
    ConfigurationRefused,
    KeyFailed,
    KeyUsed,
    ProcessEnded,
    ProcessStarted,
)

__all__ = [
    "AuditSigned",
    "CertificateChanged",
    "CertificateHarvested",
    "CertificateWaiting",
    "CommandRefused",
    "ConfigurationLoaded",
    "ConfigurationRefused",
    "Event",
    "FetchFailed",
    "Fetched",
    "KeyFailed",
    "KeyShared",
    "KeyUsed",
    "MailAccepted",
    "MailBroken",
    "MailDeferred",
    "MailDelivered",
    "MailDropped",
    "MailFailed",
    "MailHeld",
    "MailOpened",
    "MailProtected",
    "MailRefused",
    "MailReleased",
    "MailUnprotected",
    "Observer",
    "PeerAllowed",
    "PeerRejected",
    "ProcessEnded",
    "ProcessStarted",
    "RevocationStale",
]
