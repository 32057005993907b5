"""Services that share a data folder, hence a spool: one at a time empties it, and any of them can."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx2
import psycopg

from tests.integration.load import Load, caught_up, eventually, kept_and_seen_to_be_broken, stored, url
from tests.integration.services import Service, running
from tests.postgres_servers import unreachable

LOCKS = Path("/proc/locks")
NAMES = ("first", "second", "third")


def holder(lock: Path) -> int:
    """The process that holds it, as Linux tells."""
    held = f":{lock.stat().st_ino} "
    return eventually(lambda: [int(each.split()[4]) for each in LOCKS.read_text().splitlines() if held in each])[0]


@kept_and_seen_to_be_broken
def test_services_that_share_a_spool_lose_nothing_when_the_one_that_empties_it_is_killed(
    tmp_path: Path, postgres: str, module: str, outcome: AbstractContextManager[object]
) -> None:
    with outcome:
        # of several clients: the broken one loses one estimate of each batch, and something has to be left to hand over
        load, services = Load(clients=4), dict[int, Service]()
        with ExitStack() as stack, psycopg.connect(postgres) as owner:
            for name in NAMES:
                (tmp_path / name).mkdir()
                service = stack.enter_context(
                    running(
                        tmp_path / name,
                        *("--demo", "--data-dir", str(tmp_path / "data")),
                        module=module,
                        HOUSEPREDICT_DATABASE_URL=url(postgres),
                    )
                )
                stack.enter_context(load.on(service))
                services[service.process.pid] = service
            with unreachable(postgres):
                load.wait_for(100)
                for service in services.values():  # a reader finds out, if no client has
                    assert "spool" in httpx2.get(f"{service.url}/predictions").json()
                # what one of them then hands over has to wait
                owner.execute("LOCK TABLE predictions IN SHARE MODE")
            services.pop(holder(tmp_path / "data" / "spool.lock")).process.kill()
            owner.rollback()
            for service in services.values():
                caught_up(service)
            load.wait_for(100)
        load.compare_with(stored(postgres))
        assert set(load.statuses) == {200}
        assert len(load.unanswered) <= load.clients
