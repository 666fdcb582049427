"""The spool: what was said 250 to, until it has ended."""
