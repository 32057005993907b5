from __future__ import annotations

import pytest

from housepredict.adapters.memory_sales import InMemorySales
from housepredict.testing.sales import SaleRepositoryContract


class TestInMemorySales(SaleRepositoryContract):
    @pytest.fixture
    def repository(self) -> InMemorySales:
        return InMemorySales()
