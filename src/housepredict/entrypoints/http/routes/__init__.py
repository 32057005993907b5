"""The routes, each operation beside its handler."""
