"""The kinds of SQLite files that are torn: how the adapter of each writes batches, and reads which are there."""

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
"""The largest number of a batch: that which is appended to a torn file."""


class Kind(Protocol):
    """A kind of file: how its adapter writes batches, each of which is made of its number alone."""

    def open(self, file: Path) -> Any:
        """Open it with the product's adapter."""

    def append(self, opened: Any, batch: int) -> None:
        """Append a batch; one that is there already is left as it is."""

    def erase(self, opened: Any, batch: int) -> None:
        """Erase a batch, and leave the log empty."""

    def read(self, opened: Any) -> list[int]:
        """The batches that are there, in order, each as often as it is. Raises Broken for other records."""


def _id(number: int) -> UUID:
    """An id that says in which order it was given."""
    return UUID(int=(int(NOON.timestamp() * 1000) + number << 80) | 7 << 76 | 2 << 62 | number)


def _batch(number: int) -> range:
    """The numbers of the records of a batch: one to three."""
    return range(10 * number, 10 * number + 1 + number % 3)


def _batches(found: Sequence[object], make: Callable[[int], object]) -> list[int]:
    """The batches that records make, which `make` makes of their numbers. Raises Broken for parts of a batch."""
    left, batches = list(found), []
    while left:
        number = next((each for each in range(NEXT + 1) if make(_batch(each)[0]) == left[0]), None)
        if number is None:
            raise Broken(f"nobody has appended {left[0]}")
        whole = [make(each) for each in _batch(number)]
        if left[: len(whole)] != whole:
            raise Broken(f"of a batch only a part is there, or something else: {left[: len(whole)]}")
        batches.append(number)
        del left[: len(whole)]
    return batches


def _prediction(number: int) -> Prediction:
    made = NOON + timedelta(milliseconds=number)
    return Prediction(_id(number), made, Estimate(House({"size": number, "area": "west"}), 1000.0 + number, "a"))


def _sale(number: int) -> RecordedSale:
    made = NOON + timedelta(milliseconds=number)
    return RecordedSale(_id(number), _id(number + 1000), 2000.0 + number, made.date(), made)


class Predictions:
    """`predictions.sqlite`."""

    def open(self, file: Path) -> SqlitePredictions:
        """See Kind."""
        return SqlitePredictions.open(file)

    def append(self, opened: SqlitePredictions, batch: int) -> None:
        """See Kind."""
        opened.append([_prediction(each) for each in _batch(batch)])

    def erase(self, opened: SqlitePredictions, batch: int) -> None:
        """See Kind."""
        opened.erase([_id(each) for each in _batch(batch)])

    def read(self, opened: SqlitePredictions) -> list[int]:
        """See Kind."""
        opened.check()
        return _batches(list(reversed(opened.recent(1000))), _prediction)


class Spool(Predictions):
    """`spool.sqlite`. Its own tally has to agree with its rows."""

    def open(self, file: Path) -> SqliteSpool:
        """See Kind."""
        return SqliteSpool.open(file)

    def read(self, opened: SqlitePredictions) -> list[int]:
        """See Kind."""
        assert isinstance(opened, SqliteSpool)
        found = opened.oldest(1000)
        if (counted := opened.backlog().pending) != len(found):
            raise Broken(f"the spool counts {counted} predictions, and holds {len(found)}")
        return super().read(opened)


class Sales:
    """`sales.sqlite`. A batch that is delivered again is not recorded again."""

    def open(self, file: Path) -> SqliteSales:
        """See Kind."""
        return SqliteSales.open(file)

    def append(self, opened: SqliteSales, batch: int) -> None:
        """See Kind."""
        sales = [_sale(each) for each in _batch(batch)]
        if opened.append(sales, Delivery(f"delivery {batch}", str(batch))) != sales:
            raise Broken(f"other sales are recorded for delivery {batch}")

    def erase(self, opened: SqliteSales, batch: int) -> None:
        """See Kind."""
        opened.erase([_id(each + 1000) for each in _batch(batch)])

    def read(self, opened: SqliteSales) -> list[int]:
        """See Kind."""
        found = sorted(opened.current(), key=lambda each: each.id)
        return _batches(found, _sale)


class Keys:
    """`keys.sqlite`."""

    def open(self, file: Path) -> SqliteKeys:
        """See Kind."""
        return SqliteKeys.open(file)

    def append(self, opened: SqliteKeys, batch: int) -> None:
        """See Kind."""
        ids = [_id(each) for each in _batch(batch)]
        if opened.reserve(Delivery(f"key {batch}", str(batch)), ids) != ids:
            raise Broken(f"other ids are reserved for key {batch}")

    def erase(self, opened: SqliteKeys, batch: int) -> None:
        """See Kind."""
        opened.prune(_id(_batch(batch)[-1] + 1), 1000)

    def read(self, opened: SqliteKeys) -> list[int]:
        """See Kind."""
        found = [opened.find(Delivery(f"key {each}", str(each))) for each in range(NEXT + 1)]
        return _batches([id_ for ids in found if ids for id_ in ids], _id)
