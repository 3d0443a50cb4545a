"""What must not get into a log: how it is known, found quickly, and replaced."""
