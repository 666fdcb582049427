"""What a next hop offers in its answer to EHLO, and how MAIL and RCPT are said to one that offers it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail.envelope import Body, Envelope, Recipient


class Extensions:
    """The lines of an answer to EHLO but the first (RFC 5321 4.1.1.1)."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        words = (line.partition(" ") for line in lines)
        self._parameters = {keyword.upper(): parameter.strip() for keyword, _, parameter in words}

    def offers(self, keyword: str) -> bool:
        """Whether the extension ``keyword`` (upper case) is offered."""
        return keyword in self._parameters

    def parameter(self, keyword: str) -> str:
        """What stands behind ``keyword`` (upper case), "" where nothing does."""
        return self._parameters.get(keyword, "")

    @property
    def size_limit(self) -> int | None:
        """The largest message the hop takes, in bytes (RFC 1870); None where it did not say."""
        limit = self.parameter("SIZE")
        return int(limit) or None if limit.isascii() and limit.isdigit() and len(limit) <= 20 else None

    def mail(self, envelope: Envelope, size: int) -> str:
        """MAIL, for a message of ``size`` bytes, with the parameters whose extension is offered."""
        words = [f"MAIL FROM:<{envelope.sender or ''}>"]
        if self.offers("SIZE"):
            words.append(f"SIZE={size}")
        if self.offers("8BITMIME") and envelope.body is Body.EIGHT_BIT:
            words.append("BODY=8BITMIME")
        if self.offers("SMTPUTF8") and envelope.smtputf8:
            words.append("SMTPUTF8")
        if self.offers("REQUIRETLS") and envelope.require_tls:
            words.append("REQUIRETLS")
        if self.offers("DSN"):
            words += [f"RET={envelope.ret}"] if envelope.ret else []
            words += [f"ENVID={envelope.envid}"] if envelope.envid else []
        return " ".join(words)

    def rcpt(self, recipient: Recipient) -> str:
        """RCPT, with its DSN parameters (RFC 3461) where offered."""
        words = [f"RCPT TO:<{recipient.address}>"]
        if self.offers("DSN"):
            words += [f"NOTIFY={','.join(sorted(recipient.notify))}"] if recipient.notify else []
            words += [f"ORCPT={recipient.orcpt}"] if recipient.orcpt else []
        return " ".join(words)
