"""The split for out-of-time evaluation: latest sales and earlier sales of other houses."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.evaluation.held_out import LATEST_SHARE, OutOfTimeSales, latest_sales
from housepredict.domain.features import House
from housepredict.domain.sales import Sale
from housepredict.domain.schema_inference.inference import MIN_SALES

FIRST = date(2024, 1, 1)


def sales_on(days: list[int], houses: list[int] | None = None) -> list[Sale]:
    keys = houses or list(range(len(days)))
    return [Sale(House({}), 1.0, str(key), FIRST + timedelta(day)) for day, key in zip(days, keys, strict=True)]


def distance(sales: list[Sale], since: date) -> float:
    """Return the distance between the share of sales since a day and a fifth."""
    return abs(sum(sale.sold_on >= since for sale in sales if sale.sold_on) / len(sales) - LATEST_SHARE)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 120)), min_size=150, max_size=250),
    st.sampled_from([1, 30, 60]),
)
def test_latest_sales_are_closest_to_a_fifth_and_share_no_house(rows: list[tuple[int, int]], days_at_once: int) -> None:
    """With `days_at_once` above 1, sale dates are as coarse as months and the share is less exact."""
    sales = sales_on([day // days_at_once * days_at_once for day, _ in rows], [house for _, house in rows])
    split = latest_sales(sales)
    if isinstance(split, str):
        return
    assert list(split.latest) == [sale for sale in sales if sale.sold_on and sale.sold_on >= split.since]
    houses = {sale.house_key for sale in split.latest}
    earlier = [sale for sale in sales if sale not in split.latest]
    assert list(split.earlier) == [sale for sale in earlier if sale.house_key not in houses]
    assert min(len(split.latest), len(split.earlier)) >= MIN_SALES
    days = {sale.sold_on for sale in sales if sale.sold_on} - {min(sale.sold_on for sale in sales if sale.sold_on)}
    assert distance(sales, split.since) == pytest.approx(min(distance(sales, day) for day in days))


def test_latest_sales_are_a_fifth_of_daily_sales() -> None:
    split = latest_sales(sales_on(list(range(200))))
    assert isinstance(split, OutOfTimeSales)
    assert (split.since, len(split.latest), len(split.earlier)) == (FIRST + timedelta(160), 40, 160)


@pytest.mark.parametrize(
    ("sales", "why"),
    [
        ([Sale(House({}), 1.0, "a")] * 200, "the sales have no dates"),
        (sales_on([0] * 200), "all sales have the same date"),
        (
            sales_on(list(range(100))),
            "20 sales since 2024-03-21, 80 earlier sales of other houses; at least 30 of each are needed",
        ),
        (sales_on(list(range(100)), [day % 20 for day in range(100)]), "20 sales since 2024-03-21, 0 earlier sales"),
        (sales_on([0] * 20 + [1] * 180), "180 sales since 2024-01-02, 20 earlier sales of other houses"),
    ],
)
def test_missing_out_of_time_sales_have_a_reason(sales: list[Sale], why: str) -> None:
    reason = latest_sales(sales)
    assert isinstance(reason, str)
    assert reason.startswith(why)
