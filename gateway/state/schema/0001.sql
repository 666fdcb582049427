-- What outlives a mail. Times are microseconds UTC.

-- What programs said of themselves: the DER of SMIMECapabilities of the newest signed mail by its signing time.
-- `address` is in the form in which addresses are compared.
CREATE TABLE capabilities (
    organisation TEXT NOT NULL,
    address TEXT NOT NULL,
    signed_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (organisation, address)
) STRICT, WITHOUT ROWID;

CREATE INDEX capabilities_seen ON capabilities (seen_at);
