"""The repository of recorded sales in an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

from attrs import define

from housepredict.adapters.sqlite.database import SqliteFile, ids_to_json
from housepredict.domain.errors import RepeatedKey
from housepredict.domain.idempotency import Delivery
from housepredict.domain.sales import RecordedSale

# The first index covers the query for a prediction's latest sale, which is the sale that counts. The second index
# avoids sorting by date.
_TABLES = (
    """
CREATE TABLE sales (
    id          TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    prediction  TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    sold_on     TEXT NOT NULL,             -- ISO 8601
    recorded_at TEXT NOT NULL,             -- ISO 8601, UTC
    delivery    TEXT                       -- the idempotency key
) WITHOUT ROWID
""",
    "CREATE INDEX sales_of_prediction ON sales (prediction, id)",
    "CREATE INDEX sales_by_date ON sales (sold_on, id)",
    "CREATE INDEX sales_of_delivery ON sales (delivery) WHERE delivery IS NOT NULL",
    "CREATE TABLE deliveries (key TEXT PRIMARY KEY NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID",
)

_INSERT = "INSERT INTO sales (id, prediction, price_cents, sold_on, recorded_at, delivery) VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT id, prediction, price_cents, sold_on, recorded_at FROM sales"
_OF_DELIVERY = f"{_SELECT} WHERE delivery = ? ORDER BY id"
_HISTORY = f"{_SELECT} WHERE prediction = ? ORDER BY id"
_CURRENT = f"""
{_SELECT} WHERE sold_on BETWEEN ? AND ? AND NOT EXISTS (
    SELECT 1 FROM sales AS later WHERE later.prediction = sales.prediction AND later.id > sales.id
)
ORDER BY sold_on DESC, id DESC LIMIT ?
"""  # noqa: S608  # constants
_ERASE = "DELETE FROM sales WHERE prediction IN (SELECT value FROM json_each(?))"
_PRUNE = "DELETE FROM sales WHERE id IN (SELECT id FROM sales WHERE prediction < ? ORDER BY prediction, id LIMIT ?)"
_NO_LIMIT = -1


@define
class SqliteSales(SqliteFile):
    """A thread-safe SaleRepository in an SQLite file. Processes may share the file."""

    _contents: ClassVar[str] = "sales"
    _version: ClassVar[int] = 1
    _tables: ClassVar[Sequence[str]] = _TABLES

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        rows = [_row(sale, delivery) for sale in sales]
        with self._writing() as connection:
            if delivery and not _is_new(connection, delivery):
                return [_sale(*row) for row in connection.execute(_OF_DELIVERY, (delivery.key,))]
            connection.executemany(_INSERT, rows)
        return sorted(sales, key=lambda sale: sale.id)

    def largest_id(self) -> UUID | None:
        with self._locked() as connection:
            ((largest,),) = connection.execute("SELECT max(id) FROM sales")
        return UUID(largest) if largest else None

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        between = ((since or date.min).isoformat(), (until or date.max).isoformat())
        return self._read(_CURRENT, *between, _NO_LIMIT if limit is None else limit)

    def erase(self, predictions: Sequence[UUID]) -> int:
        with self._erasing() as connection:
            return connection.execute(_ERASE, (ids_to_json(predictions),)).rowcount

    def prune(self, before: UUID, limit: int) -> int:
        with self._erasing() as connection:
            return connection.execute(_PRUNE, (str(before), limit)).rowcount

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        return self._read(_HISTORY, str(prediction))

    def _read(self, query: str, *parameters: object) -> list[RecordedSale]:
        with self._locked() as connection:
            rows = connection.execute(query, parameters).fetchall()
        return [_sale(*row) for row in rows]


def _is_new(connection: sqlite3.Connection, delivery: Delivery) -> bool:
    """Store the idempotency key of a delivery, unless the key is already stored. Return whether the key was new.

    Raises:
        RepeatedKey: if the key is already stored for another request.
    """
    known = connection.execute("SELECT digest FROM deliveries WHERE key = ?", (delivery.key,)).fetchone()
    if known is None:
        connection.execute("INSERT INTO deliveries (key, digest) VALUES (?, ?)", (delivery.key, delivery.digest))
    elif known != (delivery.digest,):
        raise RepeatedKey
    return known is None


def _row(sale: RecordedSale, delivery: Delivery | None) -> tuple[str | int | None, ...]:
    return (
        str(sale.id),
        str(sale.prediction),
        round(sale.price * 100),
        sale.sold_on.isoformat(),
        sale.recorded_at.isoformat(),
        delivery.key if delivery else None,
    )


def _sale(id: str, prediction: str, price_cents: int, sold_on: str, recorded_at: str) -> RecordedSale:  # noqa: A002
    return RecordedSale(
        UUID(id), UUID(prediction), price_cents / 100, date.fromisoformat(sold_on), datetime.fromisoformat(recorded_at)
    )
