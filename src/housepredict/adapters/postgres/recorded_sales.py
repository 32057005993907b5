"""The repository of recorded sales in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import ClassVar
from uuid import UUID

from attrs import define

from housepredict.adapters.documents import unstructure
from housepredict.adapters.postgres.connections import TimeLimitedConnection
from housepredict.adapters.postgres.persistent_connection import PersistentConnection
from housepredict.domain.errors import RepeatedKey
from housepredict.domain.idempotency import Delivery
from housepredict.domain.sales import RecordedSale

# The batch is a single parameter, so that the same statement works for any batch size.
_INSERT = """
INSERT INTO {schema}.sales (id, prediction, price, sold_on, recorded_at, delivery)
SELECT batch.*, %s FROM jsonb_to_recordset(%s::jsonb) AS batch (
    id uuid, prediction uuid, price numeric, sold_on date, recorded_at timestamptz
)
"""
_SELECT = "SELECT id, prediction, price::float8, sold_on, recorded_at FROM {schema}.sales"
_OF_DELIVERY = f"{_SELECT} WHERE delivery = %s ORDER BY id"
_HISTORY = f"{_SELECT} WHERE prediction = %s ORDER BY id"
_CURRENT = f"""
{_SELECT} WHERE sold_on BETWEEN %s AND %s AND NOT EXISTS (
    SELECT FROM {{schema}}.sales AS later WHERE later.prediction = sales.prediction AND later.id > sales.id
)
ORDER BY sold_on DESC, id DESC LIMIT %s
"""
_LARGEST = "SELECT id FROM {schema}.sales ORDER BY id DESC LIMIT 1"
_ERASE = "DELETE FROM {schema}.sales WHERE prediction = ANY (%s)"
_PRUNE = """
DELETE FROM {schema}.sales WHERE id IN (
    SELECT id FROM {schema}.sales WHERE prediction < %s ORDER BY prediction, id LIMIT %s
)
"""


@define
class PostgresSales(PersistentConnection):
    """A SaleRepository in PostgreSQL."""

    _contents: ClassVar[str] = "sales"

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        recorded = sorted(sales, key=lambda sale: sale.id)
        rows = json.dumps([unstructure(sale) for sale in recorded])
        with self.session() as connection, connection.transaction():
            if delivery and not _is_new(connection, delivery):
                return [_sale(*row) for row in connection.execute(_OF_DELIVERY, (delivery.key,))]
            connection.execute(_INSERT, (delivery.key if delivery else None, rows))
        return recorded

    def largest_id(self) -> UUID | None:
        with self.session() as connection:
            largest: list[tuple[UUID]] = connection.execute(_LARGEST).fetchall()
        return largest[0][0] if largest else None

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return self._read(_CURRENT, since or date.min, until or date.max, limit)

    def erase(self, predictions: Sequence[UUID]) -> int:
        with self.session() as connection:
            return connection.execute(_ERASE, (list(predictions),)).rowcount

    def prune(self, before: UUID, limit: int) -> int:
        with self.session() as connection:
            return connection.execute(_PRUNE, (before, limit)).rowcount

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        return self._read(_HISTORY, prediction)

    def _read(self, query: str, *parameters: object) -> list[RecordedSale]:
        with self.session() as connection:
            return [_sale(*row) for row in connection.execute(query, parameters)]


def _is_new(connection: TimeLimitedConnection, delivery: Delivery) -> bool:
    """Store the idempotency key of a delivery, unless the key is already stored. Return whether the key is new.

    A concurrent transaction with the same key waits here until this transaction ends.

    Raises:
        RepeatedKey: if the key is already stored for another request.
    """
    added = connection.execute(
        "INSERT INTO {schema}.sale_deliveries (key, digest) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING",
        (delivery.key, delivery.digest),
    )
    if added.rowcount:
        return True
    [(digest,)] = connection.execute("SELECT digest FROM {schema}.sale_deliveries WHERE key = %s", (delivery.key,))
    if digest != delivery.digest:
        raise RepeatedKey
    return False


def _sale(id: UUID, prediction: UUID, price: float, sold_on: date, recorded_at: datetime) -> RecordedSale:  # noqa: A002
    return RecordedSale(id, prediction, price, sold_on, recorded_at.astimezone(UTC))
