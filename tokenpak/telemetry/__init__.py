"""
The way of a record is the order of the folders.

``error_logger`` (the public facade) hands a failure to ``capture`` (one encoded
line, in the caller's thread), ``queue`` (the crash-safe spool and its writer) and
``store`` (append to the day's file under its lock); ``read`` brings it back.
``settings`` holds every option once.  Imports point one way only.
"""
