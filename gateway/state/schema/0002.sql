-- Certificates of correspondents, kept for an organisation under the address in the form in which addresses are compared.
-- `fingerprint` is the SHA-256 of `certificate` (DER); `above`, the DER of certificates one behind the other, may lie between it
-- and an anchor. `kept_as`: pinned, imported, harvested, waiting. `zone` vouched for what was harvested, '' outside of all.
-- `signed_at` is the signing time of the newest mail that showed it, or when an administrator put it in.
CREATE TABLE certificates (
    organisation TEXT NOT NULL,
    address TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    kept_as TEXT NOT NULL,
    zone TEXT NOT NULL,
    signed_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    certificate BLOB NOT NULL,
    above BLOB NOT NULL,
    PRIMARY KEY (organisation, address, fingerprint)
) STRICT;

CREATE INDEX certificates_learned ON certificates (seen_at) WHERE kept_as IN ('harvested', 'waiting');

-- Who makes room first: people outside of all zones, then whoever was seen last the longest time ago.
CREATE INDEX certificates_room ON certificates (zone != '', seen_at) WHERE kept_as IN ('harvested', 'waiting');

-- When an administrator last forgot something of an address: a mail signed before it teaches nothing of it any more.
CREATE TABLE forgotten (
    organisation TEXT NOT NULL,
    address TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (organisation, address)
) STRICT, WITHOUT ROWID;

-- How many rows there are of each kind, so that nobody need count them to hold a bound.
CREATE TABLE counted (
    kind TEXT NOT NULL PRIMARY KEY,
    rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counted SELECT 'capabilities', count(*) FROM capabilities;
INSERT INTO counted VALUES ('pinned', 0), ('imported', 0), ('harvested', 0), ('waiting', 0);

CREATE TRIGGER capabilities_more AFTER INSERT ON capabilities BEGIN
    UPDATE counted SET rows = rows + 1 WHERE kind = 'capabilities';
END;

CREATE TRIGGER capabilities_less AFTER DELETE ON capabilities BEGIN
    UPDATE counted SET rows = rows - 1 WHERE kind = 'capabilities';
END;

CREATE TRIGGER certificates_more AFTER INSERT ON certificates BEGIN
    UPDATE counted SET rows = rows + 1 WHERE kind = new.kept_as;
END;

CREATE TRIGGER certificates_less AFTER DELETE ON certificates BEGIN
    UPDATE counted SET rows = rows - 1 WHERE kind = old.kept_as;
END;

CREATE TRIGGER certificates_other AFTER UPDATE OF kept_as ON certificates BEGIN
    UPDATE counted SET rows = rows - 1 WHERE kind = old.kept_as;
    UPDATE counted SET rows = rows + 1 WHERE kind = new.kept_as;
END;
