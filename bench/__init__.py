"""Every figure we quote: ``make bench`` measures each side by side with what it is compared to, and writes RESULTS.md."""
