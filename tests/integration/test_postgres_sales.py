from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.connections import Database
from housepredict.adapters.postgres.recorded_sales import PostgresSales
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.testing.drawing import new_delivery, sample_sales
from housepredict.testing.sale_contract import Another, SaleRepositoryContract
from tests.integration.relay import Relay


class TestPostgresSales(SaleRepositoryContract):
    @pytest.fixture
    def repository(self, postgres: str) -> Iterator[PostgresSales]:
        with closing(PostgresSales.at(postgres)) as repository:
            yield repository

    @pytest.fixture
    def another(self, postgres: str) -> Another:
        return lambda: closing(PostgresSales.at(postgres))


def test_prices_are_stored_to_the_cent(postgres: str) -> None:
    with closing(PostgresSales.at(postgres)) as sales:
        sales.append(sample_sales(1, price=9999999999999.99))
    with psycopg.connect(postgres) as connection:
        [(price,)] = connection.execute("SELECT price::text FROM sales")
    assert price == "9999999999999.99"


def test_outage_rejects_sales_and_key_allows_retry(postgres: str, relay: Relay) -> None:
    through = make_conninfo(postgres, host="127.0.0.1", port=relay.port)
    recorded, delivery = sample_sales(2), new_delivery()
    with closing(PostgresSales(Database.at(through), patience=0.1)) as sales:
        sales.append(recorded, delivery)
        relay.freeze()
        with pytest.raises(RepositoryUnavailable, match="the sales in PostgreSQL"):
            sales.append(recorded, delivery)
        relay.thaw()
        assert list(sales.append(sample_sales(2), delivery)) == recorded
        assert list(sales.current()) == recorded[::-1]


def test_waiting_threads_time_out(postgres: str) -> None:
    with (
        closing(PostgresSales.at(postgres, 0.01)) as sales,
        sales.session(),
        ThreadPoolExecutor(1) as other,
        pytest.raises(RepositoryUnavailable, match="other threads are still waiting for the server"),
    ):
        other.submit(sales.current).result()


def test_unreachable_server_is_named_on_first_use() -> None:
    with (
        closing(PostgresSales.at("postgresql://someone@127.0.0.1:1/houses")) as sales,
        pytest.raises(RepositoryUnavailable, match=r"PostgreSQL at 127\.0\.0\.1:1/houses: .*refused"),
    ):
        sales.current()
