from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

import pytest

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import House
from housepredict.domain.identifiers import IdSequence
from housepredict.testing.prediction_contract import PredictionRepositoryContract


class TestInMemoryPredictions(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self) -> InMemoryPredictions:
        return InMemoryPredictions()


class CountedId(UUID):
    """An id that counts the lookups of all its instances."""

    looked_up: ClassVar[int] = 0

    def __hash__(self) -> int:
        CountedId.looked_up += 1
        return super().__hash__()


def test_append_does_not_scan_all_predictions() -> None:
    repository, now, estimate = InMemoryPredictions(), datetime.now(UTC), Estimate(House({"size": 2500}), 1.0, "a")
    *many, last = (CountedId(int=each.int) for each in IdSequence().take(1001, now))
    repository.append([Prediction(each, now, estimate) for each in many])
    before = CountedId.looked_up
    repository.append([Prediction(last, now, estimate)])
    assert 0 < CountedId.looked_up - before < 20
