"""The use case of measuring estimates by the sales that came back."""

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
class Returned:
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
def returned() -> Returned:
    return nothing_returned()


def nothing_returned() -> Returned:
    sales, predictions = InMemorySales(), InMemoryPredictions()
    return Returned(sales, predictions, ReviewAccuracy(sales, predictions))


def test_without_sales_there_is_nothing_to_measure(returned: Returned) -> None:
    review = returned.review()
    assert (review.overall, review.by_version) == (None, {})
    assert (review.returned.sales, review.returned.unmatched, review.returned.estimated_after_sale) == (0, 0, 0)
    assert not review.returned.truncated


@given(
    given_=st.lists(
        st.tuples(st.integers(0, 10**8), st.integers(1, 10**8), st.floats(0.01, 1), st.booleans()), min_size=1
    )
)
def test_it_measures_what_the_evaluation_of_held_out_sales_measures(
    given_: list[tuple[int, int, float, bool]],
) -> None:
    returned, calibration = nothing_returned(), Calibration(0.5, 1.0, 1.0)
    rows: dict[str, list[tuple[Sale, float, float]]] = {}
    for estimate, price, spread, second in given_:
        version = "two" if second else "one"
        estimate_, price_ = estimate / 100, price / 100
        intervals = calibration.intervals(estimate_, spread)
        made = evolve(
            returned.estimated(),
            id=new_ids(1)[0],
            estimate=Estimate(House({}), estimate_, version, intervals=intervals),
        )
        returned.predictions.append([made])
        returned.sold(made, price_)
        rows.setdefault(version, []).insert(0, (Sale(House({}), price_, str(made.id), TOMORROW), estimate_, spread))
    review = returned.review()
    assert review.by_version.keys() == rows.keys()
    whole = [row for name in review.returned.rows for row in rows[name]]
    for measured, these in [(review.overall, whole), *((review.by_version[name], rows[name]) for name in rows)]:
        valuation = Valuation([estimate for _, estimate, _ in these], [spread for *_, spread in these])
        expected = evaluate(valued([sale for sale, *_ in these], valuation, calibration), FeatureSchema(()), 0, "")
        assert measured is not None
        assert measured.accuracy == expected.accuracy
        assert measured.bounds == expected.bounds
        assert measured.coverage == expected.coverage


def test_the_sale_that_was_recorded_last_counts(returned: Returned) -> None:
    made = returned.estimated()
    returned.sold(made, 50_000.0)
    returned.sold(made, 80_000.0)
    review = returned.review()
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
def test_an_estimate_counts_if_it_was_made_before_the_day_of_the_sale_in_utc(
    returned: Returned, made: datetime, counts: bool
) -> None:
    returned.sold(returned.estimated(at=made), on=date(2025, 6, 2))
    review = returned.review()
    assert (review.overall is not None) == counts
    assert review.returned.estimated_after_sale == (0 if counts else 1)


def test_sales_of_predictions_that_nobody_knows_are_counted_until_these_arrive(returned: Returned) -> None:
    made = returned.estimated()
    late = evolve(made, id=new_ids(1)[0])
    returned.sold(made)
    returned.sold(late)
    assert (returned.review().returned.sales, returned.review().returned.unmatched) == (2, 1)
    returned.predictions.append([late])
    review = returned.review()
    assert review.overall
    assert (review.overall.accuracy.n, review.returned.unmatched) == (2, 0)


def test_a_span_of_days_has_both_its_ends(returned: Returned) -> None:
    days = [date(2025, 6, day) for day in (2, 3, 4, 5)]
    for day in days:
        returned.sold(returned.estimated(), on=day)
    assert returned.review(days[1], days[2]).returned.sales == 2
    assert returned.review(since=days[1]).returned.sales == 3
    assert returned.review(until=days[1]).returned.sales == 2


def test_estimates_of_nothing_and_less_are_measured_too(returned: Returned) -> None:
    for price in (0.0, -5.0):
        returned.sold(returned.estimated(price, intervals=False))
    review = returned.review()
    assert review.overall
    assert review.overall.accuracy.n == 2
    assert (review.overall.accuracy.median_ratio, review.overall.accuracy.cod, review.overall.accuracy.prd) == (
        0,
        None,
        None,
    )
    assert review.overall.coverage == ()


def test_coverage_is_that_of_the_intervals_that_were_given(returned: Returned) -> None:
    for price in (100_000.0, 115_000.0, 200_000.0, 300_000.0):
        returned.sold(returned.estimated(), price)
    review = returned.review()
    assert review.overall
    assert [(each.level, each.share) for each in review.overall.coverage] == [(80, 25.0), (90, 50.0)]


@pytest.mark.slow
def test_the_latest_sales_are_looked_at_where_there_are_too_many(returned: Returned) -> None:
    unknown = [
        RecordedSale(id_, prediction, 1.0, TODAY, NOON)
        for id_, prediction in zip(new_ids(MAX_SALES), new_ids(MAX_SALES), strict=True)
    ]
    returned.sales.append(unknown)
    assert (returned.review().returned.sales, returned.review().returned.truncated) == (MAX_SALES, False)
    returned.sold(returned.estimated())
    review = returned.review()
    assert (review.returned.sales, review.returned.truncated) == (MAX_SALES, True)
    assert review.overall, "the latest is among them"


def test_many_predictions_are_looked_for_some_at_a_time() -> None:
    class Counting(InMemoryPredictions):
        most = 0

        def find(self, ids):  # type: ignore[no-untyped-def]
            Counting.most = max(Counting.most, len(ids))
            return super().find(ids)

    returned = nothing_returned()
    returned.predictions = Counting()
    review = ReviewAccuracy(returned.sales, returned.predictions)
    for _ in range(1500):
        returned.sold(returned.estimated())
    assert review.returned().rows["one"][0].estimate == 100_000.0
    assert len(review.returned().rows["one"]) == 1500
    assert Counting.most == 1000
