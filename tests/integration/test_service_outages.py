"""The service under load while PostgreSQL is stopped and started, and while the service is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.integration.load import Load, caught_up, stored, url
from tests.integration.services import running
from tests.postgres_servers import Server, database


def check_outage_loses_nothing(folder: Path, server: Server, module: str, answers: int) -> None:
    load = Load()
    with database(server.conninfo) as conninfo:
        with (
            running(folder, "--demo", module=module, HOUSEPREDICT_DATABASE_URL=url(conninfo)) as service,
            load.on(service),
        ):
            load.wait_for(answers)
            server.stop()
            load.wait_for(answers)
            server.start()
            caught_up(service)
            load.wait_for(answers)
        rows = stored(conninfo)
        load.compare_with(rows)
        assert rows == sorted(rows), "another order"
        assert set(load.statuses) == {200}
        assert not load.unanswered


def check_kills_lose_nothing(folder: Path, server: Server, module: str, kills: int) -> None:
    load, chance = Load(), Random(kills)
    with database(server.conninfo) as conninfo:
        # the demonstration serves only if it is known that no version was promoted
        variables = {"HOUSEPREDICT_DATABASE_URL": url(conninfo), "HOUSEPREDICT_MODELS": "folder"}
        for number in range(kills):
            with (
                running(folder, "--demo", module=module, **variables) as service,
                load.on(service),
            ):
                load.wait_for(chance.randint(1, 200))
                # stopped for two of four rounds: lost while running, missing at startup, and found again
                if number % 4 == 1:
                    server.stop()
                if number % 4 == 3:
                    server.start()
                load.wait_for(chance.randint(1, 200))
                service.process.kill()
        with running(folder, "--demo", **variables) as service:
            caught_up(service)
        load.compare_with(stored(conninfo))
        assert set(load.statuses) == {200}
        assert len(load.unanswered) <= kills * load.clients


@pytest.mark.parametrize(
    ("check", "amount", "amount_to_detect_loss"),
    [(check_outage_loses_nothing, 300, 1), (check_kills_lose_nothing, 8, 1)],
    ids=["outage", "kills"],
)
def test_service_loses_nothing_in_outage_or_kills(
    tmp_path: Path,
    stoppable: Server,
    check: Callable[[Path, Server, str, int], None],
    amount: int,
    amount_to_detect_loss: int,
) -> None:
    check(tmp_path, stoppable, "housepredict", amount)
    (tmp_path / "lossy").mkdir()
    with pytest.raises(AssertionError, match=r"^lost"):
        check(tmp_path / "lossy", stoppable, "campaign.broken lossy", amount_to_detect_loss)
