"""The use case that measures estimates against realized sales."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from attrs import define, evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.memory import InMemoryPredictions, InMemorySales
from housepredict.domain.estimates import Calibration, Estimate, Interval, Prediction
from housepredict.domain.evaluation.held_out import evaluate, valued
from housepredict.domain.features import FeatureSchema, House
from housepredict.domain.ports import Valuation
from housepredict.domain.sales import RecordedSale, Sale
from housepredict.domain.usecases.review import MAX_SALES, ReviewAccuracy
from housepredict.testing.drawing import new_ids
from tests.training import NOON

TODAY, TOMORROW = NOON.date(), NOON.date() + timedelta(1)
INTERVALS = (Interval(80, 90_000.0, 110_000.0), Interval(90, 80_000.0, 120_000.0))


@define
class Realized:
    sales: InMemorySales
    predictions: InMemoryPredictions
    review: ReviewAccuracy

    def estimated(
        self, price: float = 100_000.0, version: str = "one", *, at: datetime = NOON, intervals: bool = True
    ) -> Prediction:
        estimate = Estimate(House({}), price, version, intervals=INTERVALS if intervals else ())
        made = Prediction(new_ids(1)[0], at, estimate)
        self.predictions.append([made])
        return made

    def sold(self, prediction: Prediction, price: float = 100_000.0, on: date = TOMORROW) -> None:
        self.sales.append([RecordedSale(new_ids(1)[0], prediction.id, price, on, NOON)])


@pytest.fixture
def realized() -> Realized:
    return new_realized()


def new_realized() -> Realized:
    sales, predictions = InMemorySales(), InMemoryPredictions()
    return Realized(sales, predictions, ReviewAccuracy(sales, predictions))


def test_review_without_sales_measures_nothing(realized: Realized) -> None:
    review = realized.review()
    assert (review.overall, review.by_version) == (None, {})
    assert (review.returned.sales, review.returned.unmatched, review.returned.estimated_after_sale) == (0, 0, 0)
    assert not review.returned.truncated


@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 10**8), st.integers(1, 10**8), st.floats(0.01, 1), st.booleans()), min_size=1
    )
)
def test_review_equals_held_out_evaluation(
    drawn: list[tuple[int, int, float, bool]],
) -> None:
    realized, calibration = new_realized(), Calibration(0.5, 1.0, 1.0)
    rows: dict[str, list[tuple[Sale, float, float]]] = {}
    for estimate, price, spread, second in drawn:
        version = "two" if second else "one"
        estimate_, price_ = estimate / 100, price / 100
        intervals = calibration.intervals(estimate_, spread)
        made = evolve(
            realized.estimated(),
            id=new_ids(1)[0],
            estimate=Estimate(House({}), estimate_, version, intervals=intervals),
        )
        realized.predictions.append([made])
        realized.sold(made, price_)
        rows.setdefault(version, []).insert(0, (Sale(House({}), price_, str(made.id), TOMORROW), estimate_, spread))
    review = realized.review()
    assert review.by_version.keys() == rows.keys()
    whole = [row for name in review.returned.rows for row in rows[name]]
    for measured, these in [(review.overall, whole), *((review.by_version[name], rows[name]) for name in rows)]:
        valuation = Valuation([estimate for _, estimate, _ in these], [spread for *_, spread in these])
        expected = evaluate(valued([sale for sale, *_ in these], valuation, calibration), FeatureSchema(()), 0, "")
        assert measured is not None
        assert measured.accuracy == expected.accuracy
        assert measured.bounds == expected.bounds
        assert measured.coverage == expected.coverage


def test_latest_recorded_sale_counts(realized: Realized) -> None:
    made = realized.estimated()
    realized.sold(made, 50_000.0)
    realized.sold(made, 80_000.0)
    review = realized.review()
    assert review.overall
    assert (review.overall.accuracy.n, review.overall.accuracy.median_ratio) == (1, 1.25)


@pytest.mark.parametrize(
    ("made", "counts"),
    [
        (datetime(2025, 6, 1, 23, 59, tzinfo=UTC), True),
        (datetime(2025, 6, 2, 0, 0, tzinfo=UTC), False),
        (datetime(2025, 6, 2, 1, 0, tzinfo=timezone(timedelta(hours=2))), True),
        (datetime(2025, 6, 1, 23, 0, tzinfo=timezone(timedelta(hours=-2))), False),
    ],
)
def test_estimate_counts_only_before_sale_date_in_utc(realized: Realized, made: datetime, counts: bool) -> None:
    realized.sold(realized.estimated(at=made), on=date(2025, 6, 2))
    review = realized.review()
    assert (review.overall is not None) == counts
    assert review.returned.estimated_after_sale == (0 if counts else 1)


def test_unmatched_sales_are_counted_until_predictions_arrive(realized: Realized) -> None:
    made = realized.estimated()
    late = evolve(made, id=new_ids(1)[0])
    realized.sold(made)
    realized.sold(late)
    assert (realized.review().returned.sales, realized.review().returned.unmatched) == (2, 1)
    realized.predictions.append([late])
    review = realized.review()
    assert review.overall
    assert (review.overall.accuracy.n, review.returned.unmatched) == (2, 0)


def test_date_range_includes_both_ends(realized: Realized) -> None:
    days = [date(2025, 6, day) for day in (2, 3, 4, 5)]
    for day in days:
        realized.sold(realized.estimated(), on=day)
    assert realized.review(days[1], days[2]).returned.sales == 2
    assert realized.review(since=days[1]).returned.sales == 3
    assert realized.review(until=days[1]).returned.sales == 2


def test_estimates_of_zero_or_less_are_measured(realized: Realized) -> None:
    for price in (0.0, -5.0):
        realized.sold(realized.estimated(price, intervals=False))
    review = realized.review()
    assert review.overall
    assert review.overall.accuracy.n == 2
    assert (review.overall.accuracy.median_ratio, review.overall.accuracy.cod, review.overall.accuracy.prd) == (
        0,
        None,
        None,
    )
    assert review.overall.coverage == ()


def test_coverage_uses_intervals_of_the_predictions(realized: Realized) -> None:
    for price in (100_000.0, 115_000.0, 200_000.0, 300_000.0):
        realized.sold(realized.estimated(), price)
    review = realized.review()
    assert review.overall
    assert [(each.level, each.share) for each in review.overall.coverage] == [(80, 25.0), (90, 50.0)]


@pytest.mark.slow
def test_latest_sales_are_reviewed_beyond_limit(realized: Realized) -> None:
    unknown = [
        RecordedSale(id_, prediction, 1.0, TODAY, NOON)
        for id_, prediction in zip(new_ids(MAX_SALES), new_ids(MAX_SALES), strict=True)
    ]
    realized.sales.append(unknown)
    assert (realized.review().returned.sales, realized.review().returned.truncated) == (MAX_SALES, False)
    realized.sold(realized.estimated())
    review = realized.review()
    assert (review.returned.sales, review.returned.truncated) == (MAX_SALES, True)
    assert review.overall, "the latest is among them"


def test_predictions_are_found_in_chunks() -> None:
    class Counting(InMemoryPredictions):
        most = 0

        def find(self, ids):  # type: ignore[no-untyped-def]
            Counting.most = max(Counting.most, len(ids))
            return super().find(ids)

    realized = new_realized()
    realized.predictions = Counting()
    review = ReviewAccuracy(realized.sales, realized.predictions)
    for _ in range(1500):
        realized.sold(realized.estimated())
    assert review.returned().rows["one"][0].estimate == 100_000.0
    assert len(review.returned().rows["one"]) == 1500
    assert Counting.most == 1000
