"""Whom to believe: certificates, paths, revocation, zones. Pure."""
