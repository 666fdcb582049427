"""Mail as bytes and values: addresses, envelopes, messages, reports. Pure."""
