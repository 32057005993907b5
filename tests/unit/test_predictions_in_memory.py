from __future__ import annotations

import pytest

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.testing.predictions import PredictionRepositoryContract


class TestInMemoryPredictions(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self) -> InMemoryPredictions:
        return InMemoryPredictions()
