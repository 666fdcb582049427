"""The replies of a session that are always the same: code, enhanced code (RFC 3463), text."""

from __future__ import annotations

from typing import Final

from gateway.smtp.reply import Reply

OK: Final = Reply(250, "2.0.0", ("OK",))
BYE: Final = Reply(221, "2.0.0", ("Bye",))
SENDER: Final = Reply(250, "2.1.0", ("Sender OK",))
RECIPIENT: Final = Reply(250, "2.1.5", ("Recipient OK",))
GO_ON: Final = Reply(354, "", ("End the message with <CRLF>.<CRLF>",))
READY: Final = Reply(220, "2.0.0", ("Ready for TLS",))
CANNOT_VERIFY: Final = Reply(252, "2.5.0", ("Send it, and it will be tried",))
NO_HELLO: Final = Reply(503, "5.5.1", ("Say EHLO first",))
NO_MAIL: Final = Reply(503, "5.5.1", ("Say MAIL first",))
NESTED: Final = Reply(503, "5.5.1", ("One mail at a time",))
MIXED: Final = Reply(503, "5.5.1", ("Chunks have begun",))
NO_RECIPIENTS: Final = Reply(554, "5.5.1", ("No valid recipients",))
NO_TLS: Final = Reply(502, "5.5.1", ("TLS not offered",))
SECURED: Final = Reply(503, "5.5.1", ("TLS has begun already",))
NO_AUTH: Final = Reply(502, "5.5.1", ("Logins are not taken here",))
IN_CLEAR: Final = Reply(538, "5.7.11", ("Begin TLS first",))
KNOWN: Final = Reply(503, "5.5.1", ("Logged in already",))
NO_MECHANISM: Final = Reply(504, "5.5.4", ("Mechanism not offered",))
CANCELLED: Final = Reply(501, "5.7.0", ("Login cancelled",))
NO_RESPONSE: Final = Reply(501, "5.5.2", ("Not a response",))
LOGGED_IN: Final = Reply(235, "2.7.0", ("Logged in",))
NOT_LOGGED_IN: Final = Reply(535, "5.7.8", ("Login not accepted",))
INJECTED: Final = Reply(521, "5.5.1", ("Nothing may follow STARTTLS",))
ENDLESS: Final = Reply(521, "5.3.4", ("Message much too large",))
SLOW: Final = Reply(421, "4.4.2", ("Too slow",))
LEAVING: Final = Reply(421, "4.3.2", ("Restarting, try again",))
ENOUGH: Final = Reply(421, "4.7.0", ("Enough for one connection",))
ERRORS: Final = Reply(421, "4.7.0", ("Too many errors",))
INTERNAL: Final = Reply(451, "4.3.0", ("Internal error, try again later",))
