"""Name constraints on the addresses we bind a certificate to (RFC 5280 4.2.1.10), wherever in it they stand.

Path validation compares rfc822Names, and emailAddress in the subject where there are no alternative names at all. We also take
SmtpUTF8Mailbox (RFC 9598 6 wants it compared), emailAddress beside other alternative names (RFC 8550 3), and a DNS name as the name
of everybody in a domain. An authority that may issue for one domain must not speak for another by choosing such a form.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from gateway.mail.address import Address, normal_local
from gateway.trust.certificate import CertificateFacts


def forbidden(authorities: Sequence[bytes], leaf: CertificateFacts) -> str | None:
    """The first name of ``leaf`` that one of ``authorities`` (DER) may not issue for; None where there is none.

    Raises whatever the library does for an authority it cannot read.
    """
    for authority in authorities:
        permitted, excluded = _subtrees(authority)
        for address in leaf.emails:
            inside = [_within(address, each) for each in permitted]
            if (inside and not any(inside)) or any(_within(address, each) for each in excluded):
                return str(address)
        for domain in leaf.dns_names:
            inside = [_whole(domain, each) for each in permitted]
            if (inside and not any(inside)) or any(_below(domain, each) for each in excluded):
                return domain
    return None


def _subtrees(authority: bytes) -> tuple[list[str], list[str]]:
    """The rfc822Names that are permitted and excluded, in lower case."""
    try:
        value = x509.load_der_x509_certificate(authority).extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return [], []
    permitted, excluded = (
        [name.value.lower() for name in names or () if isinstance(name, x509.RFC822Name)]
        for names in (value.permitted_subtrees, value.excluded_subtrees)
    )
    return permitted, excluded


def _within(address: Address, constraint: str) -> bool:
    """A mailbox, all mailboxes of one host, or (with a leading dot) those of all hosts below; all there are where it is empty."""
    mailbox, at, host = constraint.rpartition("@")
    if at:
        return (normal_local(address.local), address.domain) == (normal_local(mailbox), host)
    return address.domain.endswith(host) if host.startswith(".") else host in ("", address.domain)


def _whole(domain: str, constraint: str) -> bool:
    """Whether an authority may speak for everybody in ``domain``: not where it may for one mailbox, or for hosts below alone."""
    return "@" not in constraint and (domain.endswith(constraint) if constraint.startswith(".") else _below(domain, constraint))


def _below(domain: str, constraint: str) -> bool:
    """Whether ``domain`` is the host of the constraint, or below it: a gateway has its own name in the domain it serves."""
    host = constraint.rpartition("@")[2].removeprefix(".")
    return f".{domain}".endswith(f".{host}") if host else True
