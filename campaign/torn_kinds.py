"""Kinds of SQLite files to tear, with how the adapter of each writes batches, and reads which of them are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from campaign.trials import Broken
from housepredict.adapters.sqlite.prediction_keys import SqliteKeys
from housepredict.adapters.sqlite.predictions import SqlitePredictions
from housepredict.adapters.sqlite.recorded_sales import SqliteSales
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import House
from housepredict.domain.idempotency import Delivery
from housepredict.domain.sales import RecordedSale
from housepredict.testing.doubles import NOON

NEXT = 5
"""The largest batch number: the batch that is appended to a torn file."""


class Kind(Protocol):
    """A kind of file. The records of a batch follow from its number."""

    def open(self, file: Path) -> Any:
        """Open a file with the product's adapter."""

    def append(self, opened: Any, batch: int) -> None:
        """Append a batch, unless it is stored already."""

    def erase(self, opened: Any, batch: int) -> None:
        """Erase a batch. The write-ahead log is empty afterwards."""

    def read(self, opened: Any) -> list[int]:
        """Return the numbers of the stored batches, in order and with duplicates. Raises Broken for other records."""


def _id(number: int) -> UUID:
    """Return an id that sorts by `number`."""
    return UUID(int=(int(NOON.timestamp() * 1000) + number << 80) | 7 << 76 | 2 << 62 | number)


def _batch(number: int) -> range:
    """Return the numbers of the one to three records of a batch."""
    return range(10 * number, 10 * number + 1 + number % 3)


def _batches(records: Sequence[object], create: Callable[[int], object]) -> list[int]:
    """Return the numbers of the batches that `records` consist of. Raises Broken for other or incomplete batches.

    `create` returns the record with a number.
    """
    remaining, batches = list(records), []
    while remaining:
        number = next((batch for batch in range(NEXT + 1) if create(_batch(batch)[0]) == remaining[0]), None)
        if number is None:
            raise Broken(f"a stored record was never appended: {remaining[0]}")
        expected = [create(record) for record in _batch(number)]
        if remaining[: len(expected)] != expected:
            raise Broken(f"a stored batch is incomplete or changed: {remaining[: len(expected)]}")
        batches.append(number)
        del remaining[: len(expected)]
    return batches


def _prediction(number: int) -> Prediction:
    created_at = NOON + timedelta(milliseconds=number)
    return Prediction(_id(number), created_at, Estimate(House({"size": number, "area": "west"}), 1000.0 + number, "a"))


def _sale(number: int) -> RecordedSale:
    recorded_at = NOON + timedelta(milliseconds=number)
    return RecordedSale(_id(number), _id(number + 1000), 2000.0 + number, recorded_at.date(), recorded_at)


class Predictions:
    """`predictions.sqlite`."""

    def open(self, file: Path) -> SqlitePredictions:
        return SqlitePredictions.open(file)

    def append(self, opened: SqlitePredictions, batch: int) -> None:
        opened.append([_prediction(number) for number in _batch(batch)])

    def erase(self, opened: SqlitePredictions, batch: int) -> None:
        opened.erase([_id(number) for number in _batch(batch)])

    def read(self, opened: SqlitePredictions) -> list[int]:
        opened.check()
        return _batches(list(reversed(opened.recent(1000))), _prediction)


class Spool(Predictions):
    """`spool.sqlite`. Its counter must match the number of its rows."""

    def open(self, file: Path) -> SqliteSpool:
        return SqliteSpool.open(file)

    def read(self, opened: SqlitePredictions) -> list[int]:
        assert isinstance(opened, SqliteSpool)
        stored = opened.oldest(1000)
        if (count := opened.backlog().pending) != len(stored):
            raise Broken(f"the spool counts {count} predictions, but has {len(stored)}")
        return super().read(opened)


class Sales:
    """`sales.sqlite`. A repeated delivery must not be stored again."""

    def open(self, file: Path) -> SqliteSales:
        return SqliteSales.open(file)

    def append(self, opened: SqliteSales, batch: int) -> None:
        sales = [_sale(number) for number in _batch(batch)]
        if opened.append(sales, Delivery(f"delivery {batch}", str(batch))) != sales:
            raise Broken(f"other sales are stored for delivery {batch}")

    def erase(self, opened: SqliteSales, batch: int) -> None:
        opened.erase([_id(number + 1000) for number in _batch(batch)])

    def read(self, opened: SqliteSales) -> list[int]:
        stored = sorted(opened.current(), key=lambda sale: sale.id)
        return _batches(stored, _sale)


class Keys:
    """`keys.sqlite`."""

    def open(self, file: Path) -> SqliteKeys:
        return SqliteKeys.open(file)

    def append(self, opened: SqliteKeys, batch: int) -> None:
        ids = [_id(number) for number in _batch(batch)]
        if opened.reserve(Delivery(f"key {batch}", str(batch)), ids) != ids:
            raise Broken(f"other ids are reserved for key {batch}")

    def erase(self, opened: SqliteKeys, batch: int) -> None:
        opened.prune(_id(_batch(batch)[-1] + 1), 1000)

    def read(self, opened: SqliteKeys) -> list[int]:
        ids_by_key = [opened.find(Delivery(f"key {batch}", str(batch))) for batch in range(NEXT + 1)]
        return _batches([id_ for ids in ids_by_key if ids for id_ in ids], _id)
