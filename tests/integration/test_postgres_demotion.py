"""After a server is demoted, the service follows the host name to the new server without a restart."""

from __future__ import annotations

from pathlib import Path

from tests.integration.demotion import check_service_follows_demotion, pair
from tests.integration.load import url
from tests.postgres_servers import Server


def test_service_follows_name_after_demotion(postgres: str, stoppable: Server, tmp_path: Path) -> None:
    with pair(postgres, stoppable) as servers:
        check_service_follows_demotion(tmp_path, servers, HOUSEPREDICT_DATABASE_URL=url(servers.named))
