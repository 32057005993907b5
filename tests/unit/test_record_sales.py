"""The use case of sales that come back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from attrs import define, evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.memory import InMemoryPredictions, InMemorySales
from housepredict.domain.errors import ErasedSales, InvalidSales, RepeatedKey, RepositoryUnavailable
from housepredict.domain.estimates import MAX_PRICE, Prediction
from housepredict.domain.idempotency import Delivery
from housepredict.domain.sales import RecordedSale
from housepredict.domain.usecases.record_sales import RecordSales
from housepredict.domain.validation import Rule, Violation
from housepredict.testing.drawing import new_ids, prices
from tests.doubles import a_batch
from tests.training import NOON, FrozenClock

TODAY = NOON.date()
UNKNOWN = UUID("01970000-0000-7000-8000-000000000001")


@define
class Returning:
    """The use case over memory, with some predictions that are known."""

    sales: InMemorySales
    predictions: InMemoryPredictions
    clock: FrozenClock
    known: list[Prediction]
    record: RecordSales


@pytest.fixture
def returning() -> Returning:
    return some_returning()


def some_returning(max_batch: int = 5) -> Returning:
    sales, predictions, clock, known = InMemorySales(), InMemoryPredictions(), FrozenClock(), a_batch(3)
    predictions.append(known)
    return Returning(sales, predictions, clock, known, RecordSales(sales, predictions, clock, max_batch))


def a_sale(prediction: object = UNKNOWN, price: object = 200_000, day: object = "2025-05-30") -> dict[str, object]:
    return {"prediction": str(prediction), "price": price, "date": day}


def violations(returning: Returning, given: Sequence[object], key: str | None = None) -> list[tuple[str, Rule]]:
    with pytest.raises(InvalidSales) as caught:
        returning.record(given, key)
    assert list(returning.sales.current()) == [], "nothing is recorded of what is refused"
    return [(each.pointer, each.rule) for each in caught.value.violations]


def test_a_sale_is_recorded_and_matched_with_its_estimate(returning: Returning) -> None:
    (known, *_) = returning.known
    (returned,) = returning.record([a_sale(known.id, 200_000.004, "2025-05-30")])
    assert returned.sale == RecordedSale(returned.sale.id, known.id, 200_000.0, date(2025, 5, 30), NOON)
    assert returned.prediction == known
    assert returned.ratio == 254206.02 / 200_000
    assert list(returning.sales.current()) == [returned.sale]


def test_a_sale_is_recorded_before_its_prediction_is_known_and_matched_when_it_is_read(returning: Returning) -> None:
    (late,) = a_batch(1)
    (returned,) = returning.record([a_sale(late.id)])
    assert (returned.prediction, returned.ratio) == (None, None)
    returning.predictions.append([late])
    assert [each.prediction for each in returning.record.history(late.id)] == [late]


def test_a_correction_counts_and_the_history_is_kept(returning: Returning) -> None:
    known = returning.known[0]
    first = returning.record.one(a_sale(known.id, 100_000))
    second = returning.record.one(a_sale(known.id, 110_000))
    assert list(returning.record.history(str(known.id))) == [first, second]
    assert list(returning.sales.current()) == [second.sale]


def test_a_correction_counts_whatever_the_clocks_say(returning: Returning) -> None:
    known = returning.known[0]
    returning.record.one(a_sale(known.id, 900_000))
    behind = FrozenClock(NOON - timedelta(seconds=2))
    another = RecordSales(returning.sales, returning.predictions, behind, max_batch=5)
    corrected = another.one(a_sale(known.id, 190_000))
    assert list(returning.sales.current()) == [corrected.sale]
    assert corrected.sale.recorded_at == behind.now()


def test_a_batch_comes_back_in_order(returning: Returning) -> None:
    ids = [each.id for each in returning.known[::-1]]
    returned = returning.record([a_sale(each) for each in ids])
    assert [each.sale.prediction for each in returned] == ids


def test_a_date_may_be_a_date_and_an_id_an_id(returning: Returning) -> None:
    known = returning.known[0].id
    given = [
        {"prediction": known, "price": 200_000, "date": day} for day in (date(2025, 5, 30), datetime(2025, 5, 30, 9, 0))
    ]
    (returned,) = returning.record(given)
    assert returned.sale.sold_on == date(2025, 5, 30)


def test_what_a_batch_says_twice_is_one_sale(returning: Returning) -> None:
    known = returning.known[0].id
    assert len(returning.record([a_sale(known, 1.5), a_sale(str(known).upper(), 1.501)])) == 1


def test_what_a_batch_says_differently_of_one_prediction_is_refused(returning: Returning) -> None:
    known = returning.known[0].id
    given = [a_sale(known), a_sale(), a_sale(known, 1.5), a_sale(known, day="2025-05-29"), a_sale(known)]
    assert violations(returning, given) == [("/2", Rule.DUPLICATE), ("/3", Rule.DUPLICATE)]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("prediction", "seven", Rule.TYPE),
        ("prediction", 7, Rule.TYPE),
        ("prediction", "{01970000-0000-7000-8000-000000000001}", Rule.TYPE),
        ("prediction", "01970000000070008000000000000001", Rule.TYPE),
        ("prediction", None, Rule.MISSING),
        ("price", 0, Rule.BOUNDS),
        ("price", -1, Rule.BOUNDS),
        ("price", 0.004, Rule.BOUNDS),
        ("price", MAX_PRICE, Rule.BOUNDS),
        ("price", MAX_PRICE - 0.01, None),
        ("price", 10**400, Rule.BOUNDS),
        ("price", math.nan, Rule.FINITE),
        ("price", math.inf, Rule.FINITE),
        ("price", True, Rule.TYPE),
        ("price", "200000", Rule.TYPE),
        ("price", None, Rule.MISSING),
        ("date", "2025-02-29", Rule.DATE),
        ("date", "20250530", Rule.DATE),
        ("date", "30.5.2025", Rule.DATE),
        ("date", 20250529, Rule.TYPE),
        ("date", str(TODAY + timedelta(1)), None),
        ("date", str(TODAY + timedelta(2)), Rule.DATE),
        ("date", None, Rule.MISSING),
    ],
)
def test_each_field_is_checked(returning: Returning, name: str, value: object, rule: Rule | None) -> None:
    given = {**a_sale(), name: value}
    if rule is None:
        assert returning.record([given])
    else:
        assert violations(returning, [a_sale(), given]) == [(f"/1/{name}", rule)]


def test_every_violation_of_every_sale_is_listed(returning: Returning) -> None:
    class Repeating(dict[str, object]):
        repeated = ("price",)

    given: list[object] = [{"prediction": "x", "price": -1}, 7, {**a_sale(), "prize": 1}, Repeating(a_sale())]
    assert violations(returning, given) == [
        ("/0/prediction", Rule.TYPE),
        ("/0/price", Rule.BOUNDS),
        ("/0/date", Rule.MISSING),
        ("/1", Rule.TYPE),
        ("/2/prize", Rule.UNKNOWN),
        ("/3/price", Rule.DUPLICATE),
    ]


def test_a_batch_of_none_or_of_too_many_is_refused(returning: Returning) -> None:
    assert violations(returning, []) == [("", Rule.EMPTY)]
    assert violations(returning, [a_sale(each) for each in new_ids(6)]) == [("", Rule.LIMIT)]


def test_one_sale_has_pointers_of_its_own(returning: Returning) -> None:
    with pytest.raises(InvalidSales) as caught:
        returning.record.one({**a_sale(), "price": 0})
    assert [each.pointer for each in caught.value.violations] == ["/price"]


@pytest.mark.parametrize("key", ["", "two words", "é", "x" * 256, "tab\t", "line\n"])
def test_a_key_that_is_none_is_refused(returning: Returning, key: str) -> None:
    assert violations(returning, [a_sale()], key) == [("", Rule.TEXT)]


def test_a_key_that_comes_again_records_nothing(returning: Returning) -> None:
    known = returning.known[0].id
    first = returning.record([a_sale(known, 1.5)], "key")
    returning.clock.time += timedelta(1)
    assert returning.record([a_sale(known, 1.50)], "key") == first, "and is answered as before"
    assert len(returning.record.history(known)) == 1
    with pytest.raises(RepeatedKey):
        returning.record([a_sale(known, 1.6)], "key")


def test_a_file_is_checked_as_a_whole_before_any_of_it_is_recorded() -> None:
    returning = some_returning(max_batch=2)
    with pytest.raises(InvalidSales) as caught:
        returning.record.any_number([*(a_sale(each) for each in new_ids(5)), a_sale(price=0)], "file")
    assert [each.pointer for each in caught.value.violations] == ["/5/price"]
    assert list(returning.sales.current()) == []


@define
class Failing(InMemorySales):
    """Takes some batches, and then no more."""

    batches: int = 2

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        if not self.batches:
            raise RepositoryUnavailable("away")
        self.batches -= 1
        return super().append(sales, delivery)


def test_a_file_that_was_recorded_in_part_is_completed_when_it_is_given_again() -> None:
    sales, predictions, clock, ids = Failing(), InMemoryPredictions(), FrozenClock(), new_ids(5)
    record, given = RecordSales(sales, predictions, clock, 2), [a_sale(each) for each in ids]
    with pytest.raises(RepositoryUnavailable):
        record.any_number(given, "file")
    sales.batches = 9
    assert [each.sale.prediction for each in record.any_number(given, "file")] == ids
    assert [len(sales.history(each)) for each in ids] == [1] * 5
    assert record.any_number(given, "file") == record.any_number(given, "file")


def test_predictions_that_cannot_be_read_keep_a_sale_from_being_acknowledged() -> None:
    class Away(InMemoryPredictions):
        def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
            raise RepositoryUnavailable

    sales = InMemorySales()
    with pytest.raises(RepositoryUnavailable):
        RecordSales(sales, Away(), FrozenClock())([a_sale()])
    assert list(sales.current()) == []


@pytest.mark.parametrize("key", [None, "key"])
def test_sales_of_erased_predictions_are_not_stored(returning: Returning, key: str | None) -> None:
    erased, kept, _ = [prediction.id for prediction in returning.known]
    returning.predictions.erase([erased, UNKNOWN])
    for _ in range(2):
        with pytest.raises(ErasedSales, match="their predictions were erased or pruned"):
            returning.record([a_sale(erased), a_sale(UNKNOWN)], key)
    with pytest.raises(ErasedSales):
        returning.record.one(a_sale(erased))
    assert returning.record.any_number([a_sale(erased)], "file") == []
    assert list(returning.sales.current()) == []
    assert [each.sale.prediction for each in returning.record([a_sale(erased), a_sale(kept)])] == [kept]
    assert [sale.prediction for sale in returning.sales.current()] == [kept]


def test_sales_of_pruned_predictions_are_not_stored(returning: Returning) -> None:
    erased, pruned, kept = [prediction.id for prediction in returning.known]
    returning.predictions.erase([erased])
    assert returning.predictions.prune(kept, 10) == 2, "the erasure marker is deleted as well"
    for prediction in (erased, pruned):
        with pytest.raises(ErasedSales):
            returning.record.one(a_sale(prediction))
    assert list(returning.sales.current()) == []


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize("appended_first", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_sales_are_not_stored_when_their_prediction_is_erased_meanwhile(
    key: str | None, appended_first: bool, known: bool
) -> None:
    class Raced(InMemorySales):
        """Erases the prediction while its sale is appended, as another process would."""

        def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
            recorded = super().append(sales, delivery) if appended_first else None
            self.erase([prediction.id])
            predictions.erase([prediction.id])
            # Records.erase erases the sales before and after the prediction.
            self.erase([prediction.id])
            return super().append(sales, delivery) if recorded is None else recorded

    sales, predictions, (prediction,) = Raced(), InMemoryPredictions(), a_batch(1)
    predictions.append([prediction] if known else [])
    record = RecordSales(sales, predictions, FrozenClock())
    with pytest.raises(ErasedSales):
        record([a_sale(prediction.id)], key)
    assert list(sales.current()) == []
    with pytest.raises(ErasedSales):
        record([a_sale(prediction.id)], key)
    assert list(sales.current()) == []


def test_history_hides_sales_of_an_erased_prediction(returning: Returning) -> None:
    """A process may stop after it has stored a sale, and before it has looked for an erasure."""
    erased = returning.known[0].id
    sale = returning.record.one(a_sale(erased)).sale
    returning.predictions.erase([erased])
    assert list(returning.sales.history(erased)) == [sale]
    assert list(returning.record.history(erased)) == []


def test_the_history_of_what_is_no_id_is_refused(returning: Returning) -> None:
    with pytest.raises(InvalidSales, match="prediction: must be a prediction id"):
        returning.record.history("7")


_anything: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2)
)


@given(
    given_=st.lists(
        st.one_of(
            _anything,
            st.dictionaries(st.sampled_from(("prediction", "price", "date", "more")), _anything),
            st.fixed_dictionaries(
                {
                    "prediction": st.uuids() | st.uuids().map(str),
                    "price": prices | _anything,
                    "date": st.dates() | st.dates().map(str) | _anything,
                }
            ),
        ),
        max_size=5,
    )
)
def test_whatever_is_given_it_is_recorded_as_it_is_or_every_violation_points_into_it(given_: list[Any]) -> None:
    returning = some_returning()
    try:
        returned = returning.record(given_)
    except InvalidSales as error:
        for each in error.violations:
            position = each.pointer.split("/")[1:2]
            assert not given_ if position == [] else int(position[0]) < len(given_)
        assert list(returning.sales.current()) == []
    else:
        for each, back in zip({str(each["prediction"]): each for each in given_}.values(), returned, strict=True):
            assert str(back.sale.prediction) == str(each["prediction"])
            assert back.sale.price == round(each["price"], 2)
            assert str(back.sale.sold_on) == str(each["date"])
            assert back.sale.sold_on <= TODAY + timedelta(1)
        assert {each.sale for each in returned} == set(returning.sales.current())


@given(price=prices)
def test_every_price_of_whole_cents_is_kept_as_it_is(price: float) -> None:
    returning = some_returning()
    assert returning.record.one(a_sale(price=price)).sale.price == price


def test_estimates_of_nothing_have_a_ratio(returning: Returning) -> None:
    (known,) = a_batch(1)
    returning.predictions.append([evolve(known, estimate=evolve(known.estimate, price=0.0))])
    assert returning.record.one(a_sale(known.id)).ratio == 0


@pytest.mark.parametrize("hour", [0, 12, 23])
def test_sale_in_the_future_is_refused_with_its_date_and_today(returning: Returning, hour: int) -> None:
    returning.clock.time = datetime(2025, 6, 1, hour, 0, tzinfo=UTC)
    known, latest, later = returning.known[0].id, date(2025, 6, 2), "2025-06-03"
    with pytest.raises(InvalidSales) as caught:
        returning.record([{"prediction": known, "price": 200_000, "date": later}])
    message = f"must not be in the future: {later} is after {latest} (today is 2025-06-01 in UTC)"
    assert caught.value.violations == (Violation("/0/date", Rule.DATE, message, later),)
    assert returning.record([{"prediction": known, "price": 200_000, "date": latest}])
