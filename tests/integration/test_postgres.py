from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from housepredict.adapters.postgres.repository import PostgresPredictions
from housepredict.testing.predictions import Another, PredictionRepositoryContract


class TestPostgresPredictions(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, postgres: str) -> Iterator[PostgresPredictions]:
        with PostgresPredictions.open(postgres) as repository:
            yield repository

    @pytest.fixture
    def another(self, postgres: str, repository: PostgresPredictions) -> Iterator[Another]:
        with PostgresPredictions.open(postgres) as other:
            yield lambda: nullcontext(other)
