-- How often the process that had a mail in hand died with it: a mail that kills its worker is put aside in the end.

ALTER TABLE mail ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;

CREATE INDEX mail_suspect ON mail (next_at) WHERE state = 'waiting' AND deaths >= 2;
