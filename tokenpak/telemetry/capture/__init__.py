"""1: a failure becomes one encoded line, in the caller's thread."""
