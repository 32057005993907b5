"""A server is demoted behind its name: the service goes to where the name leads, without a restart."""

from __future__ import annotations

from pathlib import Path

from tests.integration.demotion import everything_follows, pair
from tests.integration.load import url
from tests.postgres_servers import Server


def test_demoted_server_is_left_for_the_one_that_has_its_name(postgres: str, stoppable: Server, tmp_path: Path) -> None:
    with pair(postgres, stoppable) as servers:
        everything_follows(tmp_path, servers, HOUSEPREDICT_DATABASE_URL=url(servers.named))
