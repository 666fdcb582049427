"""S/MIME: CMS (RFC 5652) and its use in mail (RFC 8551). Pure: bytes, values, sans-io objects."""
