"""Behind a pool, which resets session settings, the service ignores the settings of a database, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.every_route import check_every_route
from tests.integration.load import url
from tests.integration.test_postgres_sessions import HOSTILE_SETTINGS, VARIABLES, alter_settings
from tests.pool.conftest import PGBOUNCER

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="there is no pgbouncer: install it to test a pool in front of PostgreSQL"
)
BOUNDS = {"statement_timeout"}
"""Limits that the documentation sets for the role; the service respects them."""


def test_service_behind_pool_ignores_database_settings(pool: str, postgres: str, tmp_path: Path) -> None:
    alter_settings(
        "DATABASE", {name: value for name, value in HOSTILE_SETTINGS.items() if name not in BOUNDS}, postgres
    )
    check_every_route(
        tmp_path, HOUSEPREDICT_DATABASE_URL=pool, HOUSEPREDICT_DATABASE_DIRECT_URL=url(postgres), **VARIABLES
    )
