"""Sample data for tests that are about something else."""

from __future__ import annotations

from datetime import UTC, datetime

from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import House
from housepredict.domain.identifiers import IdSequence

_ids = IdSequence()


def a_batch(size: int) -> list[Prediction]:
    """Return predictions for the tutorial's house."""
    now = datetime.now(UTC)
    estimate = Estimate(House({"size": 2500, "bedrooms": 3, "age": 10}), 254206.02, "a version")
    return [Prediction(each, now, estimate) for each in _ids.take(size, now)]
