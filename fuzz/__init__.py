"""Any bytes give a value or an error of ours, whole and a byte at a time the same: ``make fuzz``, and shortly ``make test``."""
