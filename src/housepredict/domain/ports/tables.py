"""Tables of houses that are to be estimated, and where the prices go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import FeatureSchema

Outcome = Prediction | InvalidHouses
"""What became of a house: its prediction, or what is wrong with it."""


@frozen
class HouseRows:
    """Some rows of a table: the house in each, None for a row that is none, and the rows as the table has them."""

    houses: Sequence[Mapping[str, object] | None]
    origin: Any = None


@frozen
class Houses:
    """What a table holds: the names of its columns, how many rows it has, and these, some at a time.

    `notes` say what was decided to read it.
    """

    columns: Sequence[str]
    length: int
    rows: Iterator[HouseRows]
    notes: Sequence[str] = ()


class HouseTable(Protocol):
    """A table with a house a row."""

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """All of it, `size` rows at a time, with the features of a schema as their kinds have them. What cannot be read
        so is left as it stands. Raises UnreadableFile, also while rows are read.
        """


class PriceTable(Protocol):
    """Takes rows with what became of them."""

    def write(self, rows: HouseRows, outcomes: Sequence[Outcome]) -> None:
        """Add some rows. Raises UnreadableFile."""
