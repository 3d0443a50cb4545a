"""5: exact counts, without a lock on the hot path."""
