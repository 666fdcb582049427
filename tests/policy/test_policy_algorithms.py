"""How each reader is encrypted to: known, advertised, by the certificate, by default; never below the floor or the default."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from gateway.config.model import Config
from gateway.mail.address import parse_address
from gateway.outcome import GatewayError, Reason
from gateway.policy import Chosen, choose
from gateway.policy.algorithms import Why
from gateway.smime import der
from gateway.smime.algorithms import AES256_GCM, ContentCipher, KeyTransport
from gateway.smime.capabilities import Capabilities
from tests.pki import Ca, Issued, short_rsa
from tests.policy.world import LAB, OUTSIDE, WORLD, world

CBC, GCM = ContentCipher.AES256_CBC, ContentCipher.AES256_GCM
PKCS1, OAEP = KeyTransport.PKCS1, KeyTransport.OAEP_SHA256
LISTS = [None, Capabilities()] + [
    Capabilities(ciphers, transports)
    for ciphers, transports in product(
        (None, frozenset[ContentCipher](), frozenset({CBC}), frozenset({GCM}), frozenset({CBC, GCM})),
        (None, frozenset[KeyTransport](), frozenset({PKCS1}), frozenset({OAEP}), frozenset({PKCS1, OAEP})),
    )
]


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def rsa(root: Ca) -> Issued:
    return root.reader(str(OUTSIDE))


@pytest.fixture(scope="module")
def says_gcm(root: Ca) -> Issued:
    return root.reader(str(OUTSIDE), capabilities=der.sequence(der.sequence(der.oid(AES256_GCM))))


def site(**organisation: Any) -> Config:  # noqa: ANN401
    return world(organisation=WORLD["organisation"] | {"hospital": WORLD["organisation"]["hospital"] | organisation})


def chosen(config: Config, reader: Issued, announced: Capabilities | None = None, to: str = str(OUTSIDE)) -> Chosen:
    return choose(config, "hospital", parse_address(to), reader.der, announced)


def test_of_whom_nothing_is_known_gets_what_every_program_opens(rsa: Issued) -> None:
    assert chosen(site(), rsa) == Chosen(CBC, Why.DEFAULT, PKCS1, Why.DEFAULT)


@pytest.mark.parametrize("capabilities", LISTS)
def test_what_is_advertised_is_used_and_nothing_weaker_than_the_default(rsa: Issued, capabilities: Capabilities | None) -> None:
    """The best that is listed, wherever it stands. Each of the two by itself; a list that is silent of one says nothing of it."""
    found = chosen(site(), rsa, capabilities)
    known = capabilities or Capabilities()
    assert found.cipher is (GCM if known.ciphers and GCM in known.ciphers else CBC)
    assert found.transport is (OAEP if known.transports and OAEP in known.transports else PKCS1)
    assert (found.cipher_why is Why.ADVERTISED) == bool(known.ciphers)
    assert (found.transport_why is Why.ADVERTISED) == bool(known.transports)


@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
def test_a_key_that_agrees_leaves_no_choice_of_transport(root: Ca, kind: str) -> None:
    reader = root.reader(str(OUTSIDE), kind)
    found = chosen(site(floor={"transport": "rsa-oaep-sha256"}), reader, Capabilities(frozenset({GCM}), frozenset({PKCS1})))
    assert found.told == "aes256-gcm (advertised), ecdh (key)"


def test_a_certificate_speaks_where_no_mail_did(says_gcm: Issued) -> None:
    assert chosen(site(), says_gcm) == Chosen(GCM, Why.CERTIFICATE, PKCS1, Why.DEFAULT)
    assert chosen(site(), says_gcm, Capabilities(frozenset({CBC}))).cipher is CBC
    assert chosen(site(), says_gcm, Capabilities(None, frozenset({OAEP}))) == Chosen(GCM, Why.CERTIFICATE, OAEP, Why.ADVERTISED)


def test_what_an_administrator_knows_comes_first(rsa: Issued) -> None:
    """Of the address before the peer, each key by itself; also where the program says otherwise, either way."""
    reader = [
        {"recipient": ["results@laboratory.example"], "opens": {"cipher": "aes256-cbc"}},
        {"recipient": ["@laboratory.example", "@*.post.example"], "opens": {"cipher": "aes256-gcm"}},
    ]
    zone = WORLD["zone"]["health"]
    lab = zone["peer"][0] | {"opens": {"cipher": "aes256-gcm", "transport": "rsa-oaep-sha256"}}
    config = site(reader=reader).model_copy(update={"zone": world(zone={"health": zone | {"peer": [lab]}}).zone})
    everything, little = Capabilities(frozenset({CBC, GCM})), Capabilities(frozenset({CBC}), frozenset({PKCS1}))
    assert chosen(config, rsa, everything, str(LAB)) == Chosen(CBC, Why.OVERRIDE, OAEP, Why.OVERRIDE)
    assert chosen(config, rsa, little, "second@laboratory.example").cipher is GCM
    assert chosen(config, rsa, None, "x@sub.post.example").cipher is GCM
    assert chosen(config, rsa, None, "x@post.example").cipher is CBC


@pytest.mark.parametrize("capabilities", LISTS)
@pytest.mark.parametrize("cipher", [CBC, GCM])
@pytest.mark.parametrize("transport", [PKCS1, OAEP])
def test_nobody_gets_less_than_the_floor(
    rsa: Issued, capabilities: Capabilities | None, cipher: ContentCipher, transport: KeyTransport
) -> None:
    """Who is known to open less gets nothing; of whom it is not known gets the floor."""
    config = site(floor={"cipher": cipher, "transport": transport})
    known = capabilities or Capabilities()
    less = (cipher is GCM and known.ciphers is not None and GCM not in known.ciphers) or (
        transport is OAEP and known.transports is not None and OAEP not in known.transports
    )
    if less:
        with pytest.raises(GatewayError, match="the floor is") as caught:
            chosen(config, rsa, capabilities)
        assert caught.value.reason is Reason.WEAK_ALGORITHM
    else:
        found = chosen(config, rsa, capabilities)
        assert cipher is CBC or found.cipher is GCM
        assert transport is PKCS1 or found.transport is OAEP


def test_what_an_administrator_knows_does_not_get_below_the_floor(rsa: Issued) -> None:
    config = site(floor={"cipher": "aes256-gcm"}, reader=[{"recipient": ["@post.example"], "opens": {"cipher": "aes256-cbc"}}])
    with pytest.raises(GatewayError, match=r"opens no better than aes256-cbc \(override\)") as caught:
        chosen(config, rsa, Capabilities(frozenset({GCM})))
    assert caught.value.reason is Reason.WEAK_ALGORITHM


def test_a_key_that_is_not_encrypted_to_has_no_algorithm(root: Ca) -> None:
    with pytest.raises(GatewayError) as caught:
        chosen(site(), short_rsa(root))
    assert caught.value.reason is Reason.WEAK_ALGORITHM
