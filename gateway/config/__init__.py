"""The configuration: TOML files in, one frozen tree out, every mistake reported at once."""
