"""S/MIME security gateway. The path of one mail:

1. ``receive``     sockets in: who speaks, what may it send, stream the body to the spool, then 250
2. ``policy``      ``admit`` at RCPT, ``plan`` per recipient
3. ``spool``       durable before 250; one mail in becomes several out in one transaction
4. ``worker``      leases a mail and picks the flow by its direction
5. ``flow``        ``evidence`` finds and judges certificates; ``outgoing`` signs and encrypts; ``incoming`` opens and verifies
6. ``smime``       CMS and MIME security, bytes and values only
7. ``trust``       whom to believe: certificates, paths, revocation, zones
8. ``deliver``     sockets out: one hop, one outcome per recipient
9. ``edge``        one foreign system per file: TLS, key agents, PKCS#11, LDAP, HTTP, audit and metrics
10. ``app``        builds all of it from a ``config``; ``operate`` is how people reach it

Other programs use 5 and 6 by ``library``, for one message at a time.
"""
