"""The discharge letter: accents, an HTML part, a PDF. Everything in it is made up, and names nobody."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

SENDER = "cardiologie@hospital.example"
RECIPIENT = "biologie@laboratory.example"
SUBJECT = "Lettre de sortie : suivi après hospitalisation"

TEXT = """\
Chère consœur, cher confrère,

Le patient est sorti ce jour après une prise en charge réussie.
Contrôle de la créatinine à 8 jours, potassium à 48 h ; arrêt du diurétique si > 5,5 mmol/l.

Bien à vous,
le service de cardiologie
"""

HTML = """\
<html><body><p>Chère consœur, cher confrère,</p><p>Le patient est sorti ce jour après une prise en charge <b>réussie</b>.</p>
<ul><li>Créatinine à 8 jours</li><li>Potassium à 48 h</li></ul><p>Bien à vous,<br>le service de cardiologie</p></body></html>
"""


def pdf() -> bytes:
    """A PDF of one page that says what it is."""
    stream = b"BT /F1 18 Tf 72 760 Td (Lettre de sortie) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def letter() -> bytes:
    """The letter with CRLF line ends, its text parts in 8bit."""
    message = EmailMessage(policy=SMTP.clone(cte_type="8bit"))
    message["From"] = f"Cardiologie <{SENDER}>"
    message["To"] = f"Biologie <{RECIPIENT}>"
    message["Subject"] = SUBJECT
    message["Date"] = "Mon, 02 Mar 2026 09:30:00 +0100"
    message["Message-ID"] = "<lettre-de-sortie@hospital.example>"
    message.set_content(TEXT, cte="8bit")
    message.add_alternative(HTML, subtype="html", cte="8bit")
    message.add_attachment(pdf(), maintype="application", subtype="pdf", filename="lettre-de-sortie.pdf")
    return message.as_bytes()
