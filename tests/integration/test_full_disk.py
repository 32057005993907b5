"""A service that loses PostgreSQL and then runs out of disk space reports both and recovers on its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import httpx2
import pytest
from attrs import define, field

from tests.conftest import SMALL_DISK
from tests.integration.load import caught_up, stored, url, with_sound_and_lossy_service
from tests.integration.services import LAB_HOUSE, Service, running
from tests.postgres_servers import unreachable
from tests.small_disks import small_disk


@define
class Client:
    acknowledged: list[str] = field(factory=list)

    def post(self, service: Service, houses: int) -> int:
        answer = httpx2.post(f"{service.url}/predict", json=[LAB_HOUSE] * houses, timeout=30)
        if answer.status_code == 200:
            self.acknowledged += [each["id"] for each in answer.json()["predictions"]]
        else:
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code

    def fill_the_disk(self, service: Service) -> None:
        for houses in (1000, 30, 2):
            while self.post(service, houses) == 200:
                pass


@with_sound_and_lossy_service
def test_full_disk_returns_503_and_recovers(
    tmp_path: Path, pytestconfig: pytest.Config, postgres: str, module: str, outcome: AbstractContextManager[object]
) -> None:
    with outcome, small_disk(pytestconfig.stash[SMALL_DISK]) as disk:
        client, variables = Client(), {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
        options = ("--demo", "--data-dir", str(disk.folder))
        with running(tmp_path, *options, module=module, **variables) as service:
            pid = service.process.pid
            with unreachable(postgres):
                disk.resize(pid, 10)
                client.fill_the_disk(service)
                disk.resize(pid, 11)
                assert client.post(service, 1) == 200, "there is room again"
                client.fill_the_disk(service)
                disk.take_the_rest(pid)
            disk.relieve(pid)
            caught_up(service)
            assert client.post(service, 1) == 200, "the database is back"
            assert client.acknowledged == [each for each, _ in stored(postgres)], "lost"
            # the reserve file is created again
            with unreachable(postgres):
                disk.resize(pid, 12)
                client.fill_the_disk(service)
                disk.take_the_rest(pid)
                service.process.kill()
        with running(tmp_path, *options, module=module, **variables) as service:
            caught_up(service)
            assert client.post(service, 1) == 200
        assert client.acknowledged == [each for each, _ in stored(postgres)], "lost"
