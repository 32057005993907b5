"""PostgreSQL storage, shared by all replicas of a service."""
