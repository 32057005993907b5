"""The JSON inside a row: what the SQL databases keep of a prediction beside plain columns.

It goes out as it came in: whole numbers stay whole, floats stay floats. PostgreSQL's `jsonb` keeps both as they are
written as long as no exponent is needed, which the bound on magnitudes in `housepredict.domain.validation` sees to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from attrs import asdict

from housepredict.adapters.documents import structure
from housepredict.domain.caveats import Caveat
from housepredict.domain.estimates import Estimate, Interval, Prediction
from housepredict.domain.features import House, Value


def caveats_to_json(caveats: Iterable[Caveat]) -> list[dict[str, Any]]:
    """Caveats as JSON values."""
    return [asdict(each) for each in caveats]


def intervals_to_json(intervals: Iterable[Interval]) -> dict[str, list[float]] | None:
    """Intervals as a JSON value, the bounds by level; None where there are none."""
    return {str(each.level): [each.low, each.high] for each in intervals} or None


def prediction(
    id: UUID,  # noqa: A002  # the name of the column and of the field
    created_at: datetime,
    model_version: str,
    features: Mapping[str, Value],
    price: float,
    valued_on: date | None,
    caveats: Iterable[Mapping[str, str]],
    intervals: Mapping[str, Sequence[float]] | None = None,
    fsd: float | None = None,
    generation: int | None = None,
) -> Prediction:
    """A prediction from the columns of its row, JSON decoded."""
    house = House(features)
    estimate = Estimate(
        house,
        price,
        model_version,
        valued_on,
        tuple(structure(caveat, Caveat) for caveat in caveats),
        # other fields are of a newer release
        tuple(Interval(int(level), *bounds[:2]) for level, bounds in (intervals or {}).items() if level.isdecimal()),
        fsd,
        generation,
    )
    return Prediction(id, created_at.astimezone(UTC), estimate)
