"""What is done to a mail between the spool and the spool."""
