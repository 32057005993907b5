from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from housepredict.adapters.sqlite.prediction_keys import SqliteKeys
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.testing.drawing import new_delivery, new_ids
from housepredict.testing.prediction_contract import AnotherKeys, PredictionKeysContract


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data" / "keys.sqlite"


class TestSqliteKeys(PredictionKeysContract):
    @pytest.fixture
    def keys(self, path: Path) -> Iterator[SqliteKeys]:
        with SqliteKeys.open(path) as keys:
            yield keys

    @pytest.fixture
    def another(self, path: Path) -> AnotherKeys:
        return partial(SqliteKeys.open, path)


def test_key_survives_reopening(path: Path) -> None:
    delivery, ids = new_delivery(), new_ids(3)
    with SqliteKeys.open(path) as keys:
        keys.reserve(delivery, ids)
    with SqliteKeys.open(path) as keys:
        assert list(keys.find(delivery) or []) == ids


def test_closed_repository_is_unavailable(path: Path) -> None:
    keys = SqliteKeys.open(path)
    keys.close()
    with pytest.raises(RepositoryUnavailable, match="the keys in"):
        keys.find(new_delivery())
    with pytest.raises(RepositoryUnavailable):
        keys.reserve(new_delivery(), new_ids(1))
