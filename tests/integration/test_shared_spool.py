"""Services that share a data directory share a spool. One at a time drains it, and any of them can."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx2
import psycopg

from tests.integration.load import Load, caught_up, eventually, stored, url, with_sound_and_lossy_service
from tests.integration.services import Service, running
from tests.postgres_servers import unreachable

LOCKS = Path("/proc/locks")
NAMES = ("first", "second", "third")


def holder(lock: Path) -> int:
    """Return the process that holds the lock, according to Linux."""
    held = f":{lock.stat().st_ino} "
    return eventually(lambda: [int(each.split()[4]) for each in LOCKS.read_text().splitlines() if held in each])[0]


@with_sound_and_lossy_service
def test_shared_spool_loses_nothing_when_drainer_is_killed(
    tmp_path: Path, postgres: str, module: str, outcome: AbstractContextManager[object]
) -> None:
    with outcome:
        # several clients, because the lossy service drops one estimate per batch, and some must remain
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
                for service in services.values():  # a read detects the outage if no client has
                    assert "spool" in httpx2.get(f"{service.url}/predictions").json()
                # keeps the drain of the first service waiting
                owner.execute("LOCK TABLE predictions IN SHARE MODE")
            services.pop(holder(tmp_path / "data" / "spool.lock")).process.kill()
            owner.rollback()
            for service in services.values():
                caught_up(service)
            load.wait_for(100)
        load.compare_with(stored(postgres))
        assert set(load.statuses) == {200}
        assert len(load.unanswered) <= load.clients
