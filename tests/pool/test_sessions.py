"""Behind a pool, which takes few of a client's settings and keeps none, the service is as indifferent to sessions."""

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
"""The documentation has the bounds of a pooled session set for the role: they are respected."""


def test_service_behind_pool_is_indifferent_to_settings_of_a_database(pool: str, postgres: str, tmp_path: Path) -> None:
    alter_settings(
        "DATABASE", {name: value for name, value in HOSTILE_SETTINGS.items() if name not in BOUNDS}, postgres
    )
    check_every_route(
        tmp_path, HOUSEPREDICT_DATABASE_URL=pool, HOUSEPREDICT_DATABASE_DIRECT_URL=url(postgres), **VARIABLES
    )
