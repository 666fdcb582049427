"""S/MIME: CMS (RFC 5652) and its use in mail (RFC 8551). Pure: bytes, values, sans-io objects.

Here stand the names of its streams that others may rely on, see docs/library.md. Inside, each is imported from where it is.
"""

from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.cms import Compressed, Enveloped, Kind, SignedData
from gateway.smime.decrypt import NeedUnwrap
from gateway.smime.encrypt import Encryptor
from gateway.smime.keys import Digest, Ecdh, Kdf, Mechanism, Oaep, Pkcs1, Wrap, WrappedKey, signed_input
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.recipients import Reader
from gateway.smime.sign import NeedSignature, SignatureWriter
from gateway.smime.verify import Checked, Signature, beginning, check, needed

__all__ = [
    "Checked",
    "CmsReader",
    "Compressed",
    "ContentCipher",
    "Digest",
    "Ecdh",
    "Encryptor",
    "Enveloped",
    "GatewayError",
    "Kdf",
    "KeyTransport",
    "Kind",
    "Mechanism",
    "NeedSignature",
    "NeedUnwrap",
    "Oaep",
    "Pkcs1",
    "Reader",
    "Reason",
    "Signature",
    "SignatureWriter",
    "SignedData",
    "Strength",
    "Wrap",
    "WrappedKey",
    "beginning",
    "check",
    "needed",
    "signed_input",
]
