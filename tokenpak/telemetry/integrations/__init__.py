"""
Adapters: other libraries' ways to fail and to log, brought to the logger.

Each module is for one of them, and imports it only when it is used.  None is imported
by the logger itself.
"""
