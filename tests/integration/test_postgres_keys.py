from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.connections import Database
from housepredict.adapters.postgres.prediction_keys import PostgresKeys
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.testing.drawing import new_delivery, new_ids
from housepredict.testing.prediction_contract import AnotherKeys, PredictionKeysContract
from tests.integration.relay import Relay


class TestPostgresKeys(PredictionKeysContract):
    @pytest.fixture
    def keys(self, postgres: str) -> Iterator[PostgresKeys]:
        with closing(PostgresKeys.at(postgres)) as keys:
            yield keys

    @pytest.fixture
    def another(self, postgres: str) -> AnotherKeys:
        return lambda: closing(PostgresKeys.at(postgres))


def test_keys_are_unavailable_during_outage(postgres: str, relay: Relay) -> None:
    through = make_conninfo(postgres, host="127.0.0.1", port=relay.port)
    delivery, ids = new_delivery(), new_ids(2)
    with closing(PostgresKeys(Database.at(through), patience=0.1)) as keys:
        keys.reserve(delivery, ids)
        relay.freeze()
        with pytest.raises(RepositoryUnavailable, match="the keys in PostgreSQL"):
            keys.find(delivery)
        with pytest.raises(RepositoryUnavailable):
            keys.reserve(new_delivery(), new_ids(1))
        relay.thaw()
        assert list(keys.reserve(delivery, new_ids(2))) == list(ids)
