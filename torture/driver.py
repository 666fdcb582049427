"""Sends the numbered mails, each until it is answered with 250, and remembers what every try came to."""

from __future__ import annotations

import contextlib
import smtplib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from torture.letters import SENDER, envelope_id, letter, recipient


class Reply(StrEnum):
    """What a try to send came to."""

    ACCEPTED = "250"
    REFUSED = "refused"  # 4xx or 5xx: the gateway has not taken it
    UNANSWERED = "unanswered"  # the connection broke: the gateway may have taken it


@dataclass
class Driver:
    """``port`` is the listener of the first gateway."""

    port: int
    senders: int
    progress: Callable[[int], None] = lambda _: None
    replies: dict[int, list[Reply]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    _done: threading.Condition = field(default_factory=threading.Condition)
    _accepted: int = 0
    _end: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, mails: int) -> Iterator[list[Future[None]]]:
        """Sends numbers 1 to ``mails`` in threads; on leaving they have ended."""
        numbers = iter(range(1, mails + 1))
        lock = threading.Lock()

        def following() -> int | None:
            with lock:
                return next(numbers, None)

        with ThreadPoolExecutor(self.senders, "sender") as pool:
            try:
                yield [pool.submit(self._send, following) for _ in range(self.senders)]
            finally:
                self._end.set()

    @property
    def accepted(self) -> int:
        """How many numbers were answered with 250."""
        return self._accepted

    def wait_for(self, count: int, seconds: float) -> bool:
        """Returns when so many were accepted (True) or the time is over."""
        with self._done:
            return self._done.wait_for(lambda: self._accepted >= count, seconds)

    def _send(self, following: Callable[[], int | None]) -> None:
        session: smtplib.SMTP | None = None
        while (number := following()) is not None and not self._end.is_set():
            tries = self.replies.setdefault(number, [])
            while not self._end.is_set():
                session, reply = self._try(session, number)
                tries.append(reply)
                if reply is Reply.ACCEPTED:
                    break
                self._end.wait(0.25)
            with self._done:
                self._accepted += 1
                self._done.notify_all()
            self.progress(self._accepted)
        if session is not None:
            session.close()

    def _try(self, session: smtplib.SMTP | None, number: int) -> tuple[smtplib.SMTP | None, Reply]:
        try:
            if session is None:
                session = smtplib.SMTP("127.0.0.1", self.port, local_hostname="driver.test", timeout=60)
                session.ehlo()
            session.sendmail(SENDER, [recipient(number)], letter(number), [envelope_id(number)])
        except smtplib.SMTPResponseException as error:
            self._note(error.smtp_code, error.smtp_error)
            reply = Reply.REFUSED if error.smtp_code > 0 else Reply.UNANSWERED
        except smtplib.SMTPRecipientsRefused as error:
            self._note(*error.recipients[recipient(number)])
            reply = Reply.REFUSED
        except (OSError, smtplib.SMTPException):
            reply = Reply.UNANSWERED
        else:
            return session, Reply.ACCEPTED
        if session is not None:
            session.close()
        return None, reply

    def _note(self, code: int, text: bytes | str) -> None:
        said = f"{code} {text.decode() if isinstance(text, bytes) else text}"
        self.answers[said] = self.answers.get(said, 0) + 1
