"""2: the spool that outlives the process, its writer, and recovery."""
