"""Reads one layer of CMS as it arrives: bytes in, content out; stops where it needs a key.

reader = CmsReader(keys)
for chunk in structure:
    content.write(reader.update(chunk))
    if reader.wants: reader.give(unwrapped key)    # and then update(b"") for what waited
layer = reader.finalize()

The content of EnvelopedData and AuthEnvelopedData is only proven (as far as its kind allows) once ``finalize`` has returned:
until then it must lie where it can be discarded.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Final

from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.algorithms import AUTH_ENVELOPED_DATA, DATA, ENVELOPED_DATA, SIGNED_DATA
from gateway.smime.attributes import read_authenticated
from gateway.smime.ber import CONSTRUCTED, CmsError, Head, Scope, Source, Step, integrity, malformed
from gateway.smime.cms import (
    CONTEXT_0,
    CONTEXT_1,
    CONTEXT_2,
    IMPLICIT_0,
    Compressed,
    Enveloped,
    Kind,
    SignedData,
    read_algorithm,
    read_recipients,
    read_signer,
)
from gateway.smime.compress import inflater
from gateway.smime.decrypt import Decryptor, NeedUnwrap, Unopened, decryptor, need_unwrap, sealed_by
from gateway.smime.known import Strength
from gateway.smime.limits import MAX_CERTIFICATES, MAX_CRLS, MAX_DIGESTS, MAX_RECIPIENTS, MAX_SET, MAX_SIGNERS
from gateway.smime.normal import Budget, to_der

_COMPRESSED_DATA: Final = "1.2.840.113549.1.9.16.1.9"
_KINDS: Final = {
    der.oid(SIGNED_DATA): Kind.SIGNED,
    der.oid(ENVELOPED_DATA): Kind.ENVELOPED,
    der.oid(AUTH_ENVELOPED_DATA): Kind.AUTHENVELOPED,
    der.oid(_COMPRESSED_DATA): Kind.COMPRESSED,
}
_DATA: Final = der.oid(DATA)

Layer = SignedData | Enveloped | Compressed


class CmsReader:
    """One ContentInfo. ``keys`` maps the names of our keys to their certificates (DER), best first; None: nothing is to be opened,
    and what is encrypted is read to its end all the same. ``strength``: how weak an encryption may be to be opened.

    ``kind`` and ``layer`` tell what is known so far, also after an error. Methods raise :class:`gateway.outcome.GatewayError`.
    """

    def __init__(self, keys: Mapping[str, bytes] | None, strength: Strength = Strength.MODERN) -> None:
        self.kind: Kind | None = None
        self.layer: Layer | None = None
        self.wants: NeedUnwrap | None = None
        self._keys = keys
        self._strength = strength
        self._key: bytes | None = None
        self._source = Source()
        self._budget = Budget()
        self._grammar = self._content_info()

    def update(self, data: bytes) -> bytes:
        """Takes the next bytes of the structure; what content came out. Nothing while ``wants`` is set."""
        self._source.feed(data)
        return b"".join(iter(self._advance, None))

    def give(self, key: bytes) -> None:
        """The answer to ``wants``: the content-encryption key."""
        self._key = key
        self.wants = None

    def finalize(self) -> Layer:
        """Everything was given. What the layer is, once it is read whole."""
        self._source.end()
        if any(iter(self._advance, None)) or self.layer is None or self.wants is not None:
            raise malformed("the data ends inside an element")
        return self.layer

    def _advance(self) -> bytes | None:
        return None if self.wants is not None else next(self._grammar, None)

    def _content_info(self) -> Step:
        """ContentInfo (RFC 5652 3), and nothing behind it."""
        source = self._source
        head = yield from source.head()
        if head.tag != der.SEQUENCE:
            raise malformed("not CMS")
        info = Scope(source, head, "ContentInfo")
        kind = yield from self._oid(info)
        self.kind = _KINDS.get(kind)
        if self.kind is None:
            raise CmsError(Reason.UNSUPPORTED, "a content type that is neither signed, enveloped nor compressed")
        wrapped = yield from info.enter(CONTEXT_0, "ContentInfo")
        inside = yield from wrapped.enter(der.SEQUENCE, self.kind)
        yield from self._small(inside, der.INTEGER)
        match self.kind:
            case Kind.SIGNED:
                yield from self._signed(inside)
            case Kind.COMPRESSED:
                yield from self._compressed(inside)
            case _:
                yield from self._enveloped(inside, self.kind)
        yield from wrapped.done()
        yield from info.done()
        if not (yield from source.finished()):
            raise malformed("bytes behind the structure")

    def _signed(self, signed: Scope) -> Step:
        """SignedData (RFC 5652 5.1) behind its version."""
        digests = yield from signed.enter(der.SET, "digestAlgorithms")
        yield from self._set(digests, MAX_DIGESTS)
        encapsulated = yield from signed.enter(der.SEQUENCE, "encapContentInfo")
        content_type = yield from self._oid(encapsulated)
        head = yield from encapsulated.next()
        if head is not None:
            yield from self._attached(head)
            yield from encapsulated.done()
        certificates: list[bytes] = []
        revocations: list[bytes] = []
        following = yield from signed.want(CONTEXT_0, CONTEXT_1, der.SET)
        if following.tag == CONTEXT_0:
            certificates = yield from self._set(Scope(self._source, following, "certificates"), MAX_CERTIFICATES)
            following = yield from signed.want(CONTEXT_1, der.SET)
        if following.tag == CONTEXT_1:
            revocations = yield from self._set(Scope(self._source, following, "crls"), MAX_CRLS)
            following = yield from signed.want(der.SET)
        signers = yield from self._set(Scope(self._source, following, "signerInfos"), MAX_SIGNERS)
        yield from signed.done()
        believable = tuple(item for item in certificates if item[0] == der.SEQUENCE)  # not the other CertificateChoices
        self.layer = SignedData(
            content_type,
            head is None,
            believable,
            tuple(read_signer(to_der(item, self._budget)) for item in signers),
            tuple(revocations),
        )

    def _attached(self, head: Head) -> Step:
        """The content inside SignedData: [0] EXPLICIT OCTET STRING."""
        if head.tag != CONTEXT_0:
            raise malformed("encapContentInfo")
        wrapped = Scope(self._source, head, "eContent")
        octets = yield from wrapped.want(der.OCTET_STRING, der.OCTET_STRING | CONSTRUCTED)
        yield from self._source.octets(octets)
        yield from wrapped.done()

    def _compressed(self, compressed: Scope) -> Step:
        """CompressedData (RFC 3274 1.1) behind its version."""
        algorithm = read_algorithm(der.read((yield from self._small(compressed, der.SEQUENCE))))
        self.layer = Compressed(algorithm)
        encapsulated = yield from compressed.enter(der.SEQUENCE, "encapContentInfo")
        if (yield from self._oid(encapsulated)) != _DATA:
            raise CmsError(Reason.UNSUPPORTED, "compressed content that is not a MIME entity")
        opener = inflater(algorithm)
        wrapped = yield from encapsulated.enter(CONTEXT_0, "eContent")
        octets = yield from wrapped.want(der.OCTET_STRING, der.OCTET_STRING | CONSTRUCTED)
        for piece in self._source.octets(octets):
            if piece is None:
                yield None
            else:
                yield from opener.update(piece)
        opener.finalize()
        yield from wrapped.done()
        yield from encapsulated.done()
        yield from compressed.done()

    def _enveloped(self, enveloped: Scope, kind: Kind) -> Step:
        """EnvelopedData (RFC 5652 6.1) or AuthEnvelopedData (RFC 5083 2.1) behind its version."""
        following = yield from enveloped.want(CONTEXT_0, der.SET)
        if following.tag == CONTEXT_0:
            yield from self._source.capture(following)  # originatorInfo: certificates we do not need
            following = yield from enveloped.want(der.SET)
        recipients = yield from self._set(Scope(self._source, following, "recipientInfos"), MAX_RECIPIENTS)
        encrypted = yield from enveloped.enter(der.SEQUENCE, "encryptedContentInfo")
        content_type = yield from self._oid(encrypted)
        algorithm = read_algorithm(der.read((yield from self._small(encrypted, der.SEQUENCE))))
        layer = Enveloped(kind, read_recipients([to_der(item, self._budget) for item in recipients]), algorithm)
        self.layer = layer
        if content_type != _DATA:
            raise CmsError(Reason.UNSUPPORTED, "encrypted content that is not a MIME entity")
        octets = yield from encrypted.want(IMPLICIT_0, IMPLICIT_0 | CONSTRUCTED)
        opener = yield from self._opener(layer, None if octets.constructed else octets.length)
        for piece in self._source.octets(octets):
            yield piece if piece is None else opener.update(piece)
        yield from encrypted.done()
        yield from self._tail(enveloped, kind, opener)

    def _opener(self, layer: Enveloped, size: int | None) -> Generator[None, None, Decryptor]:
        """What takes the encrypted content: with keys, once the right one was given. ``size`` is its length, where it is known."""
        sealed = sealed_by(layer.content, layer.kind, self._strength)
        if self._keys is None:
            return Unopened(sealed)
        self.wants = need_unwrap(layer.recipients, self._keys, sealed, self._strength)
        yield None
        if self._key is None:
            raise integrity()
        return decryptor(sealed, self._key, size)

    def _tail(self, enveloped: Scope, kind: Kind, opener: Decryptor) -> Step:
        """What follows the encrypted content: attributes authenticated with it, their tag, attributes that are not protected."""
        tag, attributes = None, b""
        if kind is Kind.AUTHENVELOPED:
            head = yield from enveloped.want(der.OCTET_STRING, der.OCTET_STRING | CONSTRUCTED, CONTEXT_1)
            if head.tag == CONTEXT_1:
                attributes = read_authenticated(to_der((yield from self._source.capture(head)), self._budget))
                head = yield from enveloped.want(der.OCTET_STRING, der.OCTET_STRING | CONSTRUCTED)
            tag = der.read(to_der((yield from self._source.capture(head)), self._budget)).content
        yield opener.finalize(tag, attributes)
        head_left = yield from enveloped.next()
        if head_left is not None:
            if head_left.tag != (CONTEXT_2 if kind is Kind.AUTHENVELOPED else CONTEXT_1):
                raise malformed("an element too many")
            yield from self._source.capture(head_left)
            yield from enveloped.done()

    def _oid(self, scope: Scope) -> Generator[bytes | None, None, bytes]:
        return (yield from self._small(scope, der.OBJECT_IDENTIFIER))

    def _small(self, scope: Scope, tag: int) -> Generator[bytes | None, None, bytes]:
        """The next element, as DER."""
        found = scope.whole(tag)
        if found is None:
            found = yield from self._source.capture((yield from scope.want(tag)))
        elif not tag & CONSTRUCTED and found[1] < 0x80:
            return found  # as nearly all are
        return to_der(found, self._budget)

    def _set(self, scope: Scope, most: int) -> Generator[bytes | None, None, list[bytes]]:
        """All elements of a set, as written."""
        items: list[bytes] = []
        size = 0
        while True:
            item = scope.whole()
            if item is None:
                head = yield from scope.next()
                if head is None:
                    return items
                item = yield from self._source.capture(head)
            items.append(item)
            size += len(item)
            if len(items) > most or size > MAX_SET:
                raise CmsError(Reason.LIMIT, "too many recipients, certificates or signers")
