"""Attacks on the storage of estimates, and a checker that decides what came of them: see README.md."""
