"""
Telemetry for applications that call LLMs and run as many processes.

Start at :mod:`tokenpak.telemetry.error_logger`.  Importing this package starts
nothing and imports nothing (X1).
"""

__version__ = "0.1.0"
