"""The configuration that ``init`` writes: short, working, every line of it there to be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.operate.init import Plan

GATEWAY = """\
# smime-gateway: what each key means is in docs/configuration.md. After a change: smime-gateway check

hostname = "gateway.{domain}"
state = "state"
run = "run"
spool_key = "spool-1"
audit_key = "audit-1"

[token]
module = "{module}"
label = "{organisation}"
pin = {{ file = "secrets/pin" }}
environment = {{ SOFTHSM2_CONF = "{directory}/softhsm2.conf" }}

[organisation.{organisation}]
domains = ["{domain}"]
mail_server = "mailserver"
directories = ["partners"]
{anchors}
[key.{organisation}-sign]
purpose = "sign"
organisation = "{organisation}"
certificate = "certificates/{organisation}-sign.pem"

[key.{organisation}-decrypt]
purpose = "decrypt"
organisation = "{organisation}"
certificate = "certificates/{organisation}-decrypt.pem"

[key.spool-1]
purpose = "spool"
public_key = "certificates/spool-1.pem"

[key.audit-1]
purpose = "audit"
public_key = "certificates/audit-1.pem"

[tls.gateway]
certificate = "certificates/tls.pem"
key = "secrets/tls.key"

# Our own mail server hands us what is to leave here ...
[listener.inside]
address = "127.0.0.1"
port = 10025
role = "inside"

[client.mailserver]
networks = ["127.0.0.0/8"]
organisation = "{organisation}"
may_send_for = ["{domain}"]

# ... and is handed what came in.
[route.mailserver]
host = "127.0.0.1"
port = 10026

# Certificates of people outside every zone: PEM or DER files.
[directory.partners]
kind = "folder"
path = "partners"
"""

LAB_LISTENER = """
# Peers of the zone come in here, known by their certificates.
[listener.zone]
address = "127.0.0.1"
port = 10465
role = "zone"
tls = "implicit"
identity = "gateway"
zone = "lab"

[fetching]
allow_private = ["127.0.0.0/8"]
"""

ZONE = """\
# The trust zone of the lab: whoever the test authority certified, and who is listed here.

anchors = "../anchors/lab.pem"
identity = "gateway"
directories = ["partners"]

# [[peer]]
# name = "laboratory"
# domains = ["laboratory.example"]
# host = "gateway.laboratory.example"
# port = 465
# names = ["gateway.laboratory.example"]
"""


def gateway_toml(plan: Plan, *, lab: bool) -> str:
    """``gateway.toml``."""
    text = GATEWAY.format(
        domain=plan.domain,
        organisation=plan.organisation,
        directory=plan.directory,
        module=plan.module,
        anchors='anchors = "anchors/lab.pem"\n' if lab else "",
    )
    return text + LAB_LISTENER if lab else text


def zone_toml() -> str:
    """``zones/lab.toml``."""
    return ZONE
