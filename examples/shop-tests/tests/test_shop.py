"""The fixtures come with housepredict[testing]: nothing is imported for them, and nothing set up."""

from datetime import timedelta

import httpx2
import pytest
from fastapi.testclient import TestClient
from shop import describe, shop

from housepredict import InvalidHouses

HOUSE = {"size": 2000, "bedrooms": 3, "age": 15}  # 100 · 2,000 + 5,000 · 3 - 1,000 · 15 = 200,000


@pytest.mark.parametrize(
    ("asked", "said"), [(900_000, "dear"), (190_000, "fair: houses like this sell for 200,000"), (9_000, "a bargain")]
)
def test_the_shop_says_what_a_price_is_worth(housepredict_prices, asked, said):
    assert describe(housepredict_prices, HOUSE, asked).startswith(said)


def test_a_house_that_is_none_is_not_described(housepredict_prices):
    with pytest.raises(InvalidHouses):
        describe(housepredict_prices, {"size": -1}, 1)


def test_estimates_are_under_prices(housepredict_app):
    with TestClient(shop(housepredict_app)) as client:
        assert client.get("/").json() == {"estimates": "/prices/predict"}
        assert client.post("/prices/predict", json=HOUSE).json()["prediction"] == 200_000


def test_time_passes_when_it_is_told_to(housepredict_prices, housepredict_clock):
    first = housepredict_prices.predict(HOUSE)
    housepredict_clock.move(timedelta(days=1))
    assert housepredict_prices.predict(HOUSE).created_at - first.created_at == timedelta(days=1)


def test_a_client_of_the_service_may_need_a_real_one(housepredict_server):
    answer = httpx2.post(f"{housepredict_server}/predict", json=HOUSE)
    assert answer.json()["prediction"] == 200_000
