"""Fault-injection attacks on the storage of estimates, and a checker of their results. See README.md."""
