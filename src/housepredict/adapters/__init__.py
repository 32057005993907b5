"""Adapters of the domain's ports: storage, models and files. This package imports none of them, to stay lazy."""
