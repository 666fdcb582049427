"""Live S/MIME peers: each opens what we write, and we open what each writes. ``make interop`` writes docs/interop.md."""
