"""S/MIME: CMS (RFC 5652) and its use in mail (RFC 8551). Pure: bytes, values, sans-io objects.

Here stand the names of its streams that others may rely on, see docs/library.md. Inside, each is imported from where it is.
"""

from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.ber import CmsError
from gateway.smime.cms import Compressed, Enveloped, Kind, SignedData
from gateway.smime.decrypt import NeedUnwrap
from gateway.smime.encrypt import Encryptor
from gateway.smime.keys import Digest, Ecdh, Mechanism, Oaep, Pkcs1, Signer, Unwrapper, WrappedKey, signed_input
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.recipients import Reader
from gateway.smime.sign import NeedSignature, SignatureWriter
from gateway.smime.verify import Checked, Signature, beginning, check, needed

__all__ = [
    "Checked",
    "CmsError",
    "CmsReader",
    "Compressed",
    "ContentCipher",
    "Digest",
    "Ecdh",
    "Encryptor",
    "Enveloped",
    "KeyTransport",
    "Kind",
    "Mechanism",
    "NeedSignature",
    "NeedUnwrap",
    "Oaep",
    "Pkcs1",
    "Reader",
    "Signature",
    "SignatureWriter",
    "SignedData",
    "Signer",
    "Strength",
    "Unwrapper",
    "WrappedKey",
    "beginning",
    "check",
    "needed",
    "signed_input",
]
