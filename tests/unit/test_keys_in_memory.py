from __future__ import annotations

import pytest

from housepredict.adapters.memory import InMemoryKeys
from housepredict.testing.prediction_contract import PredictionKeysContract


class TestInMemoryKeys(PredictionKeysContract):
    @pytest.fixture
    def keys(self) -> InMemoryKeys:
        return InMemoryKeys()
