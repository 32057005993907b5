"""A connection to PostgreSQL that is cut around a commit: the row is stored exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.spool import SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from tests.doubles import a_batch
from tests.integration.cutting_relay import Cut, CuttingRelay
from tests.integration.load import Load, caught_up, stored, url, with_sound_and_lossy_service
from tests.integration.services import running
from tests.integration.spools import QUICK, SOON, Renaming

COMMITTED = b"INSERT 0 1"


@pytest.fixture
def relay(postgres: str) -> Iterator[CuttingRelay]:
    with CuttingRelay.before(postgres).running() as relay:
        yield relay


def through(relay: CuttingRelay, postgres: str) -> str:
    # no encryption, because the relay parses the protocol
    return make_conninfo(postgres, host="127.0.0.1", port=relay.port, sslmode="disable", gssencmode="disable")


def check_cut_stores_each_row_once(
    path: Path, relay: CuttingRelay, postgres: str, where: Cut, kind: type[SqliteSpool]
) -> None:
    batch = a_batch(4)
    opened = partial(PostgresPredictions.open, through(relay, postgres))
    with SpooledPredictions.open(kind.open(path), opened, backoff=QUICK) as predictions:
        assert predictions.drained(SOON)
        count_before = len(stored(postgres))
        predictions.append(batch[:1])
        relay.cut_next(where)
        for each in batch[1:]:
            predictions.append([each])
        assert predictions.drained(SOON)
    assert (COMMITTED in relay.answers[-1]) == (where is Cut.AFTER_COMMIT)
    assert [id_ for id_, _ in stored(postgres)[count_before:]] == [str(each.id) for each in batch]


@pytest.mark.parametrize("where", Cut)
def test_cut_around_commit_stores_each_row_once(tmp_path: Path, relay: CuttingRelay, postgres: str, where: Cut) -> None:
    check_cut_stores_each_row_once(tmp_path / "sound.sqlite", relay, postgres, where, SqliteSpool)
    with pytest.raises(AssertionError):
        check_cut_stores_each_row_once(tmp_path / "lossy.sqlite", relay, postgres, where, Renaming)


@with_sound_and_lossy_service
def test_service_loses_nothing_when_connection_is_cut(
    tmp_path: Path, relay: CuttingRelay, postgres: str, module: str, outcome: AbstractContextManager[object]
) -> None:
    load, database = Load(clients=1), url(through(relay, postgres))
    with outcome:
        with (
            running(tmp_path, "--demo", module=module, HOUSEPREDICT_DATABASE_URL=database) as service,
            load.on(service),
        ):
            for where in Cut:
                load.wait_for(10)
                relay.cut_next(where)
                assert relay.has_cut(SOON)
                load.wait_for(10)
                caught_up(service)
        rows = stored(postgres)
        load.compare_with(rows)
        assert rows == sorted(rows), "another order"
        assert [COMMITTED in each for each in relay.answers] == [where is Cut.AFTER_COMMIT for where in Cut]
        assert set(load.statuses) == {200}
        assert not load.unanswered
