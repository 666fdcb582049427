"""Peer lists, each in its own form."""
