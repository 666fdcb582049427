"""TLS under LDAP, by OpenSSL: ldap3's own check of names is a copy of one that Python gave up."""

from __future__ import annotations

import ssl

import ldap3

from gateway.edge.ldapquestion import Connection, plain_socket


class LdapTls(ldap3.Tls):  # type: ignore[misc] # ldap3 has no types
    """Chain and name are checked by ``context``; ``host`` is the name, wherever the connection goes."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context
        self._host = host

    def wrap_socket(self, connection: Connection, do_handshake: bool = False) -> None:  # noqa: ARG002 - as ldap3 calls it
        """Puts TLS on the connection's socket. Raises ``ssl.SSLError``."""
        connection.socket = self._context.wrap_socket(plain_socket(connection), server_hostname=self._host)
