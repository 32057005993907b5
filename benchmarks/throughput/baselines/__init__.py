"""The baselines, each written in the usual way."""
