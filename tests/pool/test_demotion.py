"""A pool keeps connections to a demoted server; the service closes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.demotion import check_service_follows_demotion, pair
from tests.integration.load import url
from tests.pool.conftest import PGBOUNCER, behind_pool, pgbouncer
from tests.postgres_servers import Server

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="there is no pgbouncer: install it to test a pool in front of PostgreSQL"
)


def test_pool_connections_to_demoted_server_are_closed(
    postgres: str, stoppable: Server, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pgbouncer")
    with (
        pair(postgres, stoppable) as servers,
        pgbouncer(behind_pool(postgres, host="127.0.0.1", port=servers.relay.port), folder) as pool,
    ):
        check_service_follows_demotion(
            tmp_path,
            servers,
            HOUSEPREDICT_DATABASE_URL=pool,
            HOUSEPREDICT_DATABASE_DIRECT_URL=url(servers.named),
        )
