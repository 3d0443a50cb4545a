"""3: bytes on disk. Names, locks, append, the spool's format. Knows no records."""
