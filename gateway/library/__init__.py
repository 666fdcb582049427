"""S/MIME for other programs: a message protected or opened in one call. docs/library.md says what is stable.

The streams below it, and the names of keys, algorithms and errors, are in :mod:`gateway.smime`.
"""

from gateway.config.encryption import Floor
from gateway.edge.anchorfile import read_certificates
from gateway.edge.keyfile import FileKey
from gateway.library.body import Trust
from gateway.library.key import AsyncPrivateKey, InThread, Key, PrivateKey
from gateway.library.message import Opened, open_message, open_message_async, protect_message, protect_message_async
from gateway.mail.confidentiality import HeaderProtection, Headers
from gateway.mail.verdict import Judged, LayerVerdict, SignerVerdict, Verdict
from gateway.smime.message import SignedForm
from gateway.trust.along import Along
from gateway.trust.crl import Crl
from gateway.trust.given import GivenTrust
from gateway.trust.judgement import Distrusted, Purpose, Revocation, Trusted

__all__ = [
    "Along",
    "AsyncPrivateKey",
    "Crl",
    "Distrusted",
    "FileKey",
    "Floor",
    "GivenTrust",
    "HeaderProtection",
    "Headers",
    "InThread",
    "Judged",
    "Key",
    "LayerVerdict",
    "Opened",
    "PrivateKey",
    "Purpose",
    "Revocation",
    "SignedForm",
    "SignerVerdict",
    "Trust",
    "Trusted",
    "Verdict",
    "open_message",
    "open_message_async",
    "protect_message",
    "protect_message_async",
    "read_certificates",
]
