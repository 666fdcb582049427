"""Who may send, and what becomes of a mail: ``identify`` and ``admit`` in the session, ``plan`` for each recipient.

Pure: a configuration and facts in, a decision out. ``plan`` is asked at RCPT (the header not yet known), after DATA, by the
flows and by ``explain``; it is always the same function. The page for administrators is ``docs/policy.md``.
"""

from gateway.policy.access import Admitted, Speaker, admit, admit_sender, identify, users_at, within
from gateway.policy.algorithms import Chosen, best, choose
from gateway.policy.plan import TEMPORARY, Plan, Undecided, answer_key, is_automatic, opening_key, plan, without_certificate
from gateway.policy.rules import Known

__all__ = [
    "TEMPORARY",
    "Admitted",
    "Chosen",
    "Known",
    "Plan",
    "Speaker",
    "Undecided",
    "admit",
    "admit_sender",
    "answer_key",
    "best",
    "choose",
    "identify",
    "is_automatic",
    "opening_key",
    "plan",
    "users_at",
    "within",
    "without_certificate",
]
