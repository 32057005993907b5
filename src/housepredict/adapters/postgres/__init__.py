"""Storage in PostgreSQL, shared by every replica of a service."""
