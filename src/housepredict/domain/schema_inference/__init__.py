"""Inference of the schema (the kind and role of each column) from a raw sales table."""
