from __future__ import annotations

import pytest

from housepredict.adapters.memory import InMemorySales
from housepredict.testing.sale_contract import SaleRepositoryContract


class TestInMemorySales(SaleRepositoryContract):
    @pytest.fixture
    def repository(self) -> InMemorySales:
        return InMemorySales()
