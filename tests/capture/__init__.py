"""Capture: a failure becomes one line."""
