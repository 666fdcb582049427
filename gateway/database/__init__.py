"""SQLite as the spool and the state use it: one thread of each process for each database, and a schema in numbered steps."""
