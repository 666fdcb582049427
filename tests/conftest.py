"""What every test relies on."""

# asn1crypto's attribute types of RFC 5035 are known only from here on, and its maps are frozen at first use.
import asn1crypto.tsp  # noqa: F401
