from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from housepredict.adapters.sqlite.recorded_sales import SqliteSales
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.testing.drawing import sample_sales
from housepredict.testing.sale_contract import Another, SaleRepositoryContract


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data" / "sales.sqlite"


class TestSqliteSales(SaleRepositoryContract):
    @pytest.fixture
    def repository(self, path: Path) -> Iterator[SqliteSales]:
        with SqliteSales.open(path) as repository:
            yield repository

    @pytest.fixture
    def another(self, path: Path) -> Another:
        return partial(SqliteSales.open, path)


def test_commit_is_synchronous_and_files_are_private(path: Path) -> None:
    full = 2
    with SqliteSales.open(path) as sales:
        sales.append(sample_sales(1))
        assert sales._connection.execute("PRAGMA synchronous").fetchone() == (full,)
        assert sales._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert {f"{each.stat().st_mode & 0o777:o}" for each in path.parent.iterdir()} == {"600"}


def test_recorded_sales_survive_reopening(path: Path) -> None:
    recorded = sample_sales(3)
    with SqliteSales.open(path) as sales:
        sales.append(recorded)
    with SqliteSales.open(path) as sales:
        assert list(sales.current()) == recorded[::-1]


def test_full_disk_rejects_batch(path: Path) -> None:
    with SqliteSales.open(path) as sales:
        stored = sales.append(sample_sales(1))
        (used,) = sales._connection.execute("PRAGMA page_count").fetchone()
        sales._connection.execute(f"PRAGMA max_page_count = {used + 1}")
        with pytest.raises(RepositoryUnavailable, match=r"the sales in .*full"):
            sales.append(sample_sales(1000))
        assert list(sales.current()) == stored


def test_closed_repository_is_unavailable(path: Path) -> None:
    sales = SqliteSales.open(path)
    sales.close()
    (sale,) = sample_sales(1)
    with pytest.raises(RepositoryUnavailable):
        sales.current()
    with pytest.raises(RepositoryUnavailable):
        sales.history(sale.prediction)
    with pytest.raises(RepositoryUnavailable):
        sales.append([sale])
