"""The vocabulary of endings: what happens to a mail, and why.

A mail, or one recipient of it, ends in exactly one of four ways. Policy, flows, spool, CLI, audit and metrics all
speak of these and of no others. Each ending but ``Deliver`` carries a :class:`Reason`; everything that may be said about
a reason (to the peer, to the administrator) stands in one row of ``REASONS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Stable codes of why. An interface: documented in ``docs/reasons.md``, never renamed without a changelog line."""

    # Who is speaking, and may it
    CLIENT_UNKNOWN = "CLIENT_UNKNOWN"
    LOGIN_REQUIRED = "LOGIN_REQUIRED"
    PEER_UNKNOWN = "PEER_UNKNOWN"
    DN_NOT_LISTED = "DN_NOT_LISTED"
    CN_ONLY_MATCH = "CN_ONLY_MATCH"
    DOMAIN_NOT_BOUND = "DOMAIN_NOT_BOUND"
    SENDER_NOT_ALLOWED = "SENDER_NOT_ALLOWED"
    RELAY_DENIED = "RELAY_DENIED"
    TLS_REQUIRED = "TLS_REQUIRED"
    TLS_FAILED = "TLS_FAILED"
    # Whom to
    RECIPIENT_UNKNOWN = "RECIPIENT_UNKNOWN"
    RECIPIENT_UNCHECKED = "RECIPIENT_UNCHECKED"
    NO_ROUTE = "NO_ROUTE"
    # Certificates
    NO_CERTIFICATE = "NO_CERTIFICATE"
    CERTIFICATE_AMBIGUOUS = "CERTIFICATE_AMBIGUOUS"
    APPROVAL_PENDING = "APPROVAL_PENDING"
    DIRECTORY_UNAVAILABLE = "DIRECTORY_UNAVAILABLE"
    CHAIN = "CHAIN"
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    REVOKED = "REVOKED"
    REVOCATION_UNKNOWN = "REVOCATION_UNKNOWN"
    REVOCATION_STALE = "REVOCATION_STALE"
    EKU = "EKU"
    KEY_USAGE = "KEY_USAGE"
    WEAK_ALGORITHM = "WEAK_ALGORITHM"
    ADDRESS_MISMATCH = "ADDRESS_MISMATCH"
    # What a signature did not prove
    FROM_MISMATCH = "FROM_MISMATCH"
    FROM_AMBIGUOUS = "FROM_AMBIGUOUS"
    PARTIAL_COVERAGE = "PARTIAL_COVERAGE"
    NO_SIGNER = "NO_SIGNER"
    NO_SIGNER_CERTIFICATE = "NO_SIGNER_CERTIFICATE"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    BAD_DIGEST = "BAD_DIGEST"
    SIGNING_TIME = "SIGNING_TIME"
    HEADER_TAMPERED = "HEADER_TAMPERED"
    # What could not be opened
    NO_KEY = "NO_KEY"
    END_TO_END = "END_TO_END"
    INTEGRITY = "INTEGRITY"
    NOT_ADDRESSED = "NOT_ADDRESSED"
    MALFORMED = "MALFORMED"
    UNSUPPORTED = "UNSUPPORTED"
    LIMIT = "LIMIT"
    # Our own state
    KEY_UNAVAILABLE = "KEY_UNAVAILABLE"
    OWN_WORK_WRONG = "OWN_WORK_WRONG"
    POLICY_HOLD = "POLICY_HOLD"
    POLICY_REFUSE = "POLICY_REFUSE"
    SPOOL_UNAVAILABLE = "SPOOL_UNAVAILABLE"
    SPOOL_FULL = "SPOOL_FULL"
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    TOO_LARGE = "TOO_LARGE"
    TOO_MANY = "TOO_MANY"
    LOOP = "LOOP"
    # The next hop
    HOP_UNREACHABLE = "HOP_UNREACHABLE"
    HOP_BUSY = "HOP_BUSY"
    HOP_DEFERRED = "HOP_DEFERRED"
    HOP_REFUSED = "HOP_REFUSED"
    HOP_LOGIN = "HOP_LOGIN"
    HOP_LACKS = "HOP_LACKS"
    HOP_LACKS_REQUIRETLS = "HOP_LACKS_REQUIRETLS"
    GAVE_UP = "GAVE_UP"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything there is to say about one reason.

    ``status`` is the ``subject.detail`` of RFC 3463; the class digit is added by the ending (5 refuse, 4 defer), so that
    reply code and enhanced code cannot disagree. ``public`` is the only text a peer sees; ``owner`` is who can act, and
    ``next_step`` what that person does.
    """

    status: str
    public: str
    owner: str
    next_step: str
    permanent: int = 550
    transient: int = 451


_ADMIN: Final = "administrator"
_SENDER: Final = "sender"
_PEER: Final = "peer administrator"
_OPS: Final = "operations"

REASONS: Final[dict[Reason, Explanation]] = {
    Reason.CLIENT_UNKNOWN: Explanation(
        "7.1", "Client not authorised", _ADMIN, "add the host to a [client] of this listener, if it is one of yours"
    ),
    Reason.LOGIN_REQUIRED: Explanation("7.0", "Authentication required", _ADMIN, "let the client log in as one of its users", 530),
    Reason.PEER_UNKNOWN: Explanation(
        "7.1", "Peer not in the trust zone", _ADMIN, "compare the peer's certificate with `peer list`"
    ),
    Reason.DN_NOT_LISTED: Explanation(
        "7.1", "Peer not in the trust zone", _PEER, "list the certificate's full subject name in the zone"
    ),
    Reason.CN_ONLY_MATCH: Explanation(
        "7.1", "Peer not in the trust zone", _PEER, "only the common name matches; list the full subject name"
    ),
    Reason.DOMAIN_NOT_BOUND: Explanation(
        "7.1", "Sender domain not bound to this peer", _PEER, "bind the domain to the peer in the zone"
    ),
    Reason.SENDER_NOT_ALLOWED: Explanation(
        "7.1", "Sender address not allowed here", _ADMIN, "add the domain to the client's may_send_for"
    ),
    Reason.RELAY_DENIED: Explanation("7.1", "Relaying denied", _SENDER, "send to an address of this organisation"),
    Reason.TLS_REQUIRED: Explanation("7.0", "Must issue STARTTLS first", _PEER, "connect with TLS", 530),
    Reason.TLS_FAILED: Explanation(
        "7.5", "TLS with the next hop failed", _ADMIN, "run `peer test`; compare certificate, names and anchors"
    ),
    Reason.RECIPIENT_UNKNOWN: Explanation("1.1", "No such recipient", _SENDER, "check the address"),
    Reason.RECIPIENT_UNCHECKED: Explanation(
        "4.1", "Recipient cannot be checked now", _OPS, "see whether the mail server behind answers"
    ),
    Reason.NO_ROUTE: Explanation("4.4", "No route to this recipient", _ADMIN, "give the organisation an outbound route"),
    Reason.NO_CERTIFICATE: Explanation(
        "7.5", "No usable certificate for this recipient", _ADMIN, "look with `cert find`; import the recipient's certificate"
    ),
    Reason.CERTIFICATE_AMBIGUOUS: Explanation(
        "7.5", "Certificates of different organisations for this recipient", _ADMIN, "find out which is right, and `cert pin` it"
    ),
    Reason.APPROVAL_PENDING: Explanation(
        "7.5", "The recipient's certificate has changed and waits for approval", _ADMIN, "ask the recipient, then `cert approve`"
    ),
    Reason.DIRECTORY_UNAVAILABLE: Explanation(
        "4.3", "Certificate directory unavailable", _OPS, "see whether the directory answers; the mail is tried again"
    ),
    Reason.CHAIN: Explanation(
        "7.5", "Certificate does not lead to a trusted anchor", _ADMIN, "compare the issuer with the zone's anchors"
    ),
    Reason.EXPIRED: Explanation("7.5", "Certificate expired", _PEER, "renew the certificate"),
    Reason.NOT_YET_VALID: Explanation("7.5", "Certificate not yet valid", _PEER, "check both clocks"),
    Reason.REVOKED: Explanation("7.5", "Certificate revoked", _PEER, "obtain a new certificate"),
    Reason.REVOCATION_UNKNOWN: Explanation(
        "7.5", "Certificate revocation cannot be checked now", _OPS, "see whether the CRL can be fetched"
    ),
    Reason.REVOCATION_STALE: Explanation(
        "7.5", "Certificate revocation cannot be checked now", _OPS, "see why the CRL is not renewed; the grace is running out"
    ),
    Reason.EKU: Explanation("7.5", "Certificate not meant for this use", _PEER, "obtain one with the right extended key usage"),
    Reason.KEY_USAGE: Explanation("7.5", "Certificate not meant for this use", _PEER, "obtain one with the right key usage"),
    Reason.WEAK_ALGORITHM: Explanation(
        "7.6", "Algorithm too weak", _PEER, "use SHA-2, RSA of 2048 bits or a named curve, and what is not below the floor"
    ),
    Reason.ADDRESS_MISMATCH: Explanation(
        "7.5", "Certificate does not name this address", _ADMIN, "find the certificate of this address or its domain"
    ),
    Reason.FROM_MISMATCH: Explanation("7.7", "Signer is not the From address", _SENDER, "sign with the sender's certificate"),
    Reason.FROM_AMBIGUOUS: Explanation("7.7", "From is not one plain address", _SENDER, "send with one From address"),
    Reason.PARTIAL_COVERAGE: Explanation("7.7", "Signature covers only a part", _SENDER, "sign the whole message"),
    Reason.NO_SIGNER: Explanation("7.7", "Signed without a signer", _SENDER, "sign the message again"),
    Reason.NO_SIGNER_CERTIFICATE: Explanation(
        "7.7", "The signer's certificate is missing", _SENDER, "include the certificate in the signature"
    ),
    Reason.BAD_SIGNATURE: Explanation("7.7", "Signature does not verify", _PEER, "find what changed the mail on its way"),
    Reason.BAD_DIGEST: Explanation("7.7", "Signed content was changed", _PEER, "find what changed the mail on its way"),
    Reason.SIGNING_TIME: Explanation("7.7", "Signing time cannot be", _PEER, "check both clocks"),
    Reason.HEADER_TAMPERED: Explanation("7.7", "Header was changed on its way", _PEER, "find what changed the mail on its way"),
    Reason.NO_KEY: Explanation("7.5", "Message could not be opened", _PEER, "encrypt to our current certificate"),
    Reason.END_TO_END: Explanation(
        "7.5", "Message is for its reader to open", _ADMIN, "let it pass: `end_to_end` in `inbound`; its reader has the key"
    ),
    Reason.INTEGRITY: Explanation("7.5", "Message could not be opened", _PEER, "encrypt and send the message again"),
    Reason.NOT_ADDRESSED: Explanation(
        "7.1", "Message is not addressed to its recipient", _ADMIN, "read it with `queue why`; release it if expected"
    ),
    Reason.MALFORMED: Explanation("6.0", "Message is malformed", _SENDER, "send it with another program", 554),
    Reason.UNSUPPORTED: Explanation("7.6", "Algorithm or form not supported", _PEER, "use a form of docs/standards.md"),
    Reason.LIMIT: Explanation("3.4", "Message exceeds a limit", _SENDER, "see docs/limits.md", 554),
    Reason.KEY_UNAVAILABLE: Explanation(
        "7.4", "Cryptographic service unavailable", _OPS, "run `status` and `check --live`; look at the token"
    ),
    Reason.OWN_WORK_WRONG: Explanation("3.0", "Internal check failed", _OPS, "keep the mail and report it; nothing was sent", 554),
    Reason.POLICY_HOLD: Explanation("7.1", "Held by policy", _ADMIN, "read it with `queue why`, then release or drop"),
    Reason.POLICY_REFUSE: Explanation("7.1", "Refused by policy", _ADMIN, "run `explain` for the rule"),
    Reason.SPOOL_UNAVAILABLE: Explanation("3.0", "Cannot store mail now", _OPS, "look at the state directory and its disk"),
    Reason.SPOOL_FULL: Explanation("3.1", "Insufficient storage", _OPS, "free disk space", 452, 452),
    Reason.AUDIT_UNAVAILABLE: Explanation("3.0", "Cannot take mail now", _OPS, "look at the disk of the audit", 452, 452),
    Reason.TOO_LARGE: Explanation("3.4", "Message too large", _SENDER, "send a smaller message", 552),
    Reason.TOO_MANY: Explanation("5.3", "Too many", _SENDER, "send fewer at a time", 452, 452),
    Reason.LOOP: Explanation("4.6", "Mail loop", _ADMIN, "look at the routes: the mail came back", 554),
    Reason.HOP_UNREACHABLE: Explanation("4.1", "Next hop unreachable", _OPS, "see whether the next hop answers"),
    Reason.HOP_BUSY: Explanation("4.5", "Next hop too slow for what waits", _OPS, "see how fast the next hop takes mail"),
    Reason.HOP_DEFERRED: Explanation("4.2", "Next hop asked to wait", _OPS, "read the next hop's own words in `queue why`"),
    Reason.HOP_REFUSED: Explanation("0.0", "Next hop refused", _SENDER, "read the next hop's own words"),
    Reason.HOP_LOGIN: Explanation("7.8", "Next hop did not accept our login", _ADMIN, "look at user and password of the route"),
    Reason.HOP_LACKS: Explanation("6.7", "Next hop cannot take this mail", _SENDER, "send without the extension it lacks", 554),
    Reason.HOP_LACKS_REQUIRETLS: Explanation(
        "7.30", "Next hop does not support REQUIRETLS", _SENDER, "send without REQUIRETLS, if its way may be in clear", 554
    ),
    Reason.GAVE_UP: Explanation("4.7", "Not delivered in time", _SENDER, "send it again later", 554),
}


@dataclass(frozen=True, slots=True)
class Deliver:
    """It goes, or went, to where it should."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never: the sender is told. ``detail`` is for the administrator alone."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Defer:
    """Later, by itself. ``detail`` is for the administrator alone."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Later, by a person or when a certificate arrives. ``detail`` is for the administrator alone."""

    reason: Reason
    detail: str = ""


Outcome = Deliver | Refuse | Defer | Hold


class GatewayError(Exception):
    """The root of our own errors. Carries the reason and an administrator's detail; never text for a peer."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
