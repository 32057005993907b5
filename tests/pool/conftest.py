"""The pool stands in front of a PostgreSQL."""

from __future__ import annotations

from tests.integration.conftest import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]
