"""Adapters for the domain's ports: storage, models and files. Importing this package doesn't import the adapters."""
