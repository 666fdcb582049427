-- The queue. Times are microseconds UTC; `until` is seconds of the boot clock. `content` is the JSON of codec.py.

CREATE TABLE epoch (
    id TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    proof BLOB NOT NULL,
    sealings TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mail (
    id TEXT NOT NULL PRIMARY KEY,
    organisation TEXT NOT NULL,
    at INTEGER NOT NULL,
    stage TEXT NOT NULL,
    protected INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    content TEXT NOT NULL,
    body TEXT NOT NULL,
    size INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    reason TEXT,
    detail TEXT NOT NULL,
    owner TEXT,
    token INTEGER NOT NULL,
    until REAL
) STRICT;

-- Small bodies, in the form of their files. Larger ones are files of their own and have no row here.
CREATE TABLE body (
    name TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

CREATE INDEX mail_due ON mail (priority, next_at, id) WHERE state = 'waiting';
CREATE INDEX mail_leased ON mail (until) WHERE state = 'leased';
CREATE INDEX mail_body ON mail (body);
