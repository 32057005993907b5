"""The use case that records realized sales."""

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
class Recording:
    """The use case over memory, with some stored predictions."""

    sales: InMemorySales
    predictions: InMemoryPredictions
    clock: FrozenClock
    known: list[Prediction]
    record: RecordSales


@pytest.fixture
def recording() -> Recording:
    return new_recording()


def new_recording(max_batch: int = 5) -> Recording:
    sales, predictions, clock, known = InMemorySales(), InMemoryPredictions(), FrozenClock(), a_batch(3)
    predictions.append(known)
    return Recording(sales, predictions, clock, known, RecordSales(sales, predictions, clock, max_batch))


def a_sale(prediction: object = UNKNOWN, price: object = 200_000, day: object = "2025-05-30") -> dict[str, object]:
    return {"prediction": str(prediction), "price": price, "date": day}


def violations(recording: Recording, items: Sequence[object], key: str | None = None) -> list[tuple[str, Rule]]:
    with pytest.raises(InvalidSales) as caught:
        recording.record(items, key)
    assert list(recording.sales.current()) == [], "no rejected sale is recorded"
    return [(each.pointer, each.rule) for each in caught.value.violations]


def test_sale_is_recorded_and_matched_with_estimate(recording: Recording) -> None:
    (known, *_) = recording.known
    (returned,) = recording.record([a_sale(known.id, 200_000.004, "2025-05-30")])
    assert returned.sale == RecordedSale(returned.sale.id, known.id, 200_000.0, date(2025, 5, 30), NOON)
    assert returned.prediction == known
    assert returned.ratio == 254206.02 / 200_000
    assert list(recording.sales.current()) == [returned.sale]


def test_sale_recorded_before_its_prediction_is_matched_later(recording: Recording) -> None:
    (late,) = a_batch(1)
    (returned,) = recording.record([a_sale(late.id)])
    assert (returned.prediction, returned.ratio) == (None, None)
    recording.predictions.append([late])
    assert [each.prediction for each in recording.record.history(late.id)] == [late]


def test_correction_replaces_sale_and_keeps_history(recording: Recording) -> None:
    known = recording.known[0]
    first = recording.record.one(a_sale(known.id, 100_000))
    second = recording.record.one(a_sale(known.id, 110_000))
    assert list(recording.record.history(str(known.id))) == [first, second]
    assert list(recording.sales.current()) == [second.sale]


def test_correction_counts_even_if_clock_is_behind(recording: Recording) -> None:
    known = recording.known[0]
    recording.record.one(a_sale(known.id, 900_000))
    behind = FrozenClock(NOON - timedelta(seconds=2))
    another = RecordSales(recording.sales, recording.predictions, behind, max_batch=5)
    corrected = another.one(a_sale(known.id, 190_000))
    assert list(recording.sales.current()) == [corrected.sale]
    assert corrected.sale.recorded_at == behind.now()


def test_batch_keeps_its_order(recording: Recording) -> None:
    ids = [each.id for each in recording.known[::-1]]
    returned = recording.record([a_sale(each) for each in ids])
    assert [each.sale.prediction for each in returned] == ids


def test_date_and_uuid_objects_are_accepted(recording: Recording) -> None:
    known = recording.known[0].id
    items = [
        {"prediction": known, "price": 200_000, "date": day} for day in (date(2025, 5, 30), datetime(2025, 5, 30, 9, 0))
    ]
    (returned,) = recording.record(items)
    assert returned.sale.sold_on == date(2025, 5, 30)


def test_identical_sales_in_batch_are_merged(recording: Recording) -> None:
    known = recording.known[0].id
    assert len(recording.record([a_sale(known, 1.5), a_sale(str(known).upper(), 1.501)])) == 1


def test_conflicting_sales_of_one_prediction_are_rejected(recording: Recording) -> None:
    known = recording.known[0].id
    items = [a_sale(known), a_sale(), a_sale(known, 1.5), a_sale(known, day="2025-05-29"), a_sale(known)]
    assert violations(recording, items) == [("/2", Rule.DUPLICATE), ("/3", Rule.DUPLICATE)]


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
def test_sale_fields_are_validated(recording: Recording, name: str, value: object, rule: Rule | None) -> None:
    item = {**a_sale(), name: value}
    if rule is None:
        assert recording.record([item])
    else:
        assert violations(recording, [a_sale(), item]) == [(f"/1/{name}", rule)]


def test_violations_of_all_sales_are_listed(recording: Recording) -> None:
    class Repeating(dict[str, object]):
        repeated = ("price",)

    items: list[object] = [{"prediction": "x", "price": -1}, 7, {**a_sale(), "prize": 1}, Repeating(a_sale())]
    assert violations(recording, items) == [
        ("/0/prediction", Rule.TYPE),
        ("/0/price", Rule.BOUNDS),
        ("/0/date", Rule.MISSING),
        ("/1", Rule.TYPE),
        ("/2/prize", Rule.UNKNOWN),
        ("/3/price", Rule.DUPLICATE),
    ]


def test_batch_that_is_empty_or_too_large_is_rejected(recording: Recording) -> None:
    assert violations(recording, []) == [("", Rule.EMPTY)]
    assert violations(recording, [a_sale(each) for each in new_ids(6)]) == [("", Rule.LIMIT)]


def test_single_sale_pointers_have_no_position(recording: Recording) -> None:
    with pytest.raises(InvalidSales) as caught:
        recording.record.one({**a_sale(), "price": 0})
    assert [each.pointer for each in caught.value.violations] == ["/price"]


@pytest.mark.parametrize("key", ["", "two words", "é", "x" * 256, "tab\t", "line\n"])
def test_idempotency_key_is_validated(recording: Recording, key: str) -> None:
    assert violations(recording, [a_sale()], key) == [("", Rule.TEXT)]


def test_idempotency_key_replay_records_nothing(recording: Recording) -> None:
    known = recording.known[0].id
    first = recording.record([a_sale(known, 1.5)], "key")
    recording.clock.time += timedelta(1)
    assert recording.record([a_sale(known, 1.50)], "key") == first, "the replay returns the same answer"
    assert len(recording.record.history(known)) == 1
    with pytest.raises(RepeatedKey):
        recording.record([a_sale(known, 1.6)], "key")


def test_file_is_validated_before_recording() -> None:
    recording = new_recording(max_batch=2)
    with pytest.raises(InvalidSales) as caught:
        recording.record.any_number([*(a_sale(each) for each in new_ids(5)), a_sale(price=0)], "file")
    assert [each.pointer for each in caught.value.violations] == ["/5/price"]
    assert list(recording.sales.current()) == []


@define
class FailsAfterSomeBatches(InMemorySales):
    """A repository that accepts some batches and rejects all others."""

    batches: int = 2

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        if not self.batches:
            raise RepositoryUnavailable("away")
        self.batches -= 1
        return super().append(sales, delivery)


def test_file_recorded_in_part_is_completed_on_retry() -> None:
    sales, predictions, clock, ids = FailsAfterSomeBatches(), InMemoryPredictions(), FrozenClock(), new_ids(5)
    record, items = RecordSales(sales, predictions, clock, 2), [a_sale(each) for each in ids]
    with pytest.raises(RepositoryUnavailable):
        record.any_number(items, "file")
    sales.batches = 9
    assert [each.sale.prediction for each in record.any_number(items, "file")] == ids
    assert [len(sales.history(each)) for each in ids] == [1] * 5
    assert record.any_number(items, "file") == record.any_number(items, "file")


def test_sale_is_not_acknowledged_if_predictions_are_unavailable() -> None:
    class Away(InMemoryPredictions):
        def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
            raise RepositoryUnavailable

    sales = InMemorySales()
    with pytest.raises(RepositoryUnavailable):
        RecordSales(sales, Away(), FrozenClock())([a_sale()])
    assert list(sales.current()) == []


@pytest.mark.parametrize("key", [None, "key"])
def test_sales_of_erased_predictions_are_rejected(recording: Recording, key: str | None) -> None:
    erased, kept, _ = [prediction.id for prediction in recording.known]
    recording.predictions.erase([erased, UNKNOWN])
    for _ in range(2):
        with pytest.raises(ErasedSales, match="their predictions were erased or pruned"):
            recording.record([a_sale(erased), a_sale(UNKNOWN)], key)
    with pytest.raises(ErasedSales):
        recording.record.one(a_sale(erased))
    assert recording.record.any_number([a_sale(erased)], "file") == []
    assert list(recording.sales.current()) == []
    assert [each.sale.prediction for each in recording.record([a_sale(erased), a_sale(kept)])] == [kept]
    assert [sale.prediction for sale in recording.sales.current()] == [kept]


def test_sales_of_pruned_predictions_are_rejected(recording: Recording) -> None:
    erased, pruned, kept = [prediction.id for prediction in recording.known]
    recording.predictions.erase([erased])
    assert recording.predictions.prune(kept, 10) == 2, "the erasure marker is deleted as well"
    for prediction in (erased, pruned):
        with pytest.raises(ErasedSales):
            recording.record.one(a_sale(prediction))
    assert list(recording.sales.current()) == []


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize("appended_first", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_sales_racing_an_erasure_are_not_stored(key: str | None, appended_first: bool, known: bool) -> None:
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


def test_history_hides_sales_of_an_erased_prediction(recording: Recording) -> None:
    """A process may stop after it stores a sale and before it checks for an erasure."""
    erased = recording.known[0].id
    sale = recording.record.one(a_sale(erased)).sale
    recording.predictions.erase([erased])
    assert list(recording.sales.history(erased)) == [sale]
    assert list(recording.record.history(erased)) == []


def test_history_of_invalid_id_is_rejected(recording: Recording) -> None:
    with pytest.raises(InvalidSales, match="prediction: must be a prediction id"):
        recording.record.history("7")


_anything: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2)
)


@given(
    items=st.lists(
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
def test_sales_of_any_form_are_recorded_or_rejected(items: list[Any]) -> None:
    recording = new_recording()
    try:
        returned = recording.record(items)
    except InvalidSales as error:
        for each in error.violations:
            position = each.pointer.split("/")[1:2]
            assert not items if position == [] else int(position[0]) < len(items)
        assert list(recording.sales.current()) == []
    else:
        for each, back in zip({str(each["prediction"]): each for each in items}.values(), returned, strict=True):
            assert str(back.sale.prediction) == str(each["prediction"])
            assert back.sale.price == round(each["price"], 2)
            assert str(back.sale.sold_on) == str(each["date"])
            assert back.sale.sold_on <= TODAY + timedelta(1)
        assert {each.sale for each in returned} == set(recording.sales.current())


@given(price=prices)
def test_price_in_whole_cents_is_stored_unchanged(price: float) -> None:
    recording = new_recording()
    assert recording.record.one(a_sale(price=price)).sale.price == price


def test_estimate_of_zero_has_ratio(recording: Recording) -> None:
    (known,) = a_batch(1)
    recording.predictions.append([evolve(known, estimate=evolve(known.estimate, price=0.0))])
    assert recording.record.one(a_sale(known.id)).ratio == 0


@pytest.mark.parametrize("hour", [0, 12, 23])
def test_future_sale_is_rejected_with_both_dates(recording: Recording, hour: int) -> None:
    recording.clock.time = datetime(2025, 6, 1, hour, 0, tzinfo=UTC)
    known, latest, later = recording.known[0].id, date(2025, 6, 2), "2025-06-03"
    with pytest.raises(InvalidSales) as caught:
        recording.record([{"prediction": known, "price": 200_000, "date": later}])
    message = f"must not be in the future: {later} is after {latest} (today is 2025-06-01 in UTC)"
    assert caught.value.violations == (Violation("/0/date", Rule.DATE, message, later),)
    assert recording.record([{"prediction": known, "price": 200_000, "date": latest}])
