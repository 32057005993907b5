"""Behind a pool, which resets session settings, the service ignores the settings of a database, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.every_route import all_is_well
from tests.integration.load import url
from tests.integration.test_postgres_sessions import AMERICAN, VARIABLES, set_for
from tests.pool.conftest import PGBOUNCER

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="there is no pgbouncer: install it to test a pool in front of PostgreSQL"
)
BOUNDS = {"statement_timeout"}
"""Limits that the documentation sets for the role; the service respects them."""


def test_service_behind_pool_ignores_database_settings(pool: str, postgres: str, tmp_path: Path) -> None:
    set_for("DATABASE", {name: value for name, value in AMERICAN.items() if name not in BOUNDS}, postgres)
    all_is_well(tmp_path, HOUSEPREDICT_DATABASE_URL=pool, HOUSEPREDICT_DATABASE_DIRECT_URL=url(postgres), **VARIABLES)
