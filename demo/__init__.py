"""Two organisations on loopback exchange one protected letter: ``make demo``."""
