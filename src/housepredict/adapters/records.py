"""The JSON inside a row: what the SQL databases keep of a prediction beside plain columns.

It goes out as it came in: whole numbers stay whole, floats stay floats. PostgreSQL's `jsonb` keeps both as they are
written as long as no exponent is needed, which the bound on magnitudes in `housepredict.domain.validation` sees to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from uuid import UUID

from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import Caveat, House, Value


def caveats_to_json(caveats: Iterable[Caveat]) -> list[dict[str, str | None]]:
    """Caveats as JSON values."""
    return [{"code": each.code, "message": each.message, "feature": each.feature} for each in caveats]


def prediction(
    id: UUID,  # noqa: A002  # the name of the column and of the field
    created_at: datetime,
    model_version: str,
    features: Mapping[str, Value],
    price: float,
    valued_on: date | None,
    caveats: Iterable[Mapping[str, str]],
) -> Prediction:
    """A prediction from the columns of its row, JSON decoded."""
    house = House(features)
    estimate = Estimate(house, price, model_version, valued_on, tuple(Caveat(**caveat) for caveat in caveats))
    return Prediction(id, created_at.astimezone(UTC), estimate)
