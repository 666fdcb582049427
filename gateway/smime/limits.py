"""What reading CMS is bounded by. Every number guards memory or time against a mail made to exhaust one of them."""

from __future__ import annotations

from typing import Final

MAX_DEPTH: Final = 32  # elements inside elements; a certificate needs about 12
MAX_STRUCTURE: Final = 1024 * 1024  # bytes of one small structure: a certificate, a CRL, a SignerInfo, a RecipientInfo
MAX_STRUCTURE_ELEMENTS: Final = 100_000  # elements inside one small structure
MAX_ELEMENTS: Final = 150_000  # elements of one layer outside its content, and as many inside its structures
MAX_PIECES: Final = 500_000  # pieces of one octet string written in pieces
MAX_NAME: Final = 1024  # bytes of a distinguished name that is shown
MAX_RECIPIENTS: Final = 5000
MAX_SIGNERS: Final = 16
MAX_DIGESTS: Final = 16
MAX_CERTIFICATES: Final = 64
MAX_NAMESAKES: Final = 4  # certificates that one signer may mean, of which each is tried; a renewed one may have the old name
MAX_CRLS: Final = 64
MAX_SET: Final = 4 * 1024 * 1024  # bytes of all recipients, or of all certificates, CRLs and signers, of one layer
MAX_ATTRIBUTES: Final = 128
MAX_SIGNATURE_PART: Final = 6 * 1024 * 1024  # bytes of base64 that a detached signature may take
MAX_INFLATED: Final = 128 * 1024 * 1024  # bytes that come out of one compression
MAX_RATIO: Final = 100  # times as much as went in; text makes about 10
MAX_SMALL: Final = 1024 * 1024  # bytes that may come out however little went in

MAX_LAYERS: Final = 8  # layers of signing, encrypting and compressing around one message; a triple wrap has three
MAX_UNWRAPS: Final = 4  # private-key operations for one mail, whatever it holds
