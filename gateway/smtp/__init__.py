"""SMTP as a grammar: replies, commands, a client. Pure and sans-io."""
