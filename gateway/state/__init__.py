"""What outlives a mail."""
