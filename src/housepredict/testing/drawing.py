"""Hypothesis strategies and sample data (model versions, predictions and sales) for contract suites and tests."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Self, TypeVar
from uuid import UUID

import attrs
from attrs import evolve, field, frozen
from hypothesis import HealthCheck, reject, settings
from hypothesis import strategies as st

from housepredict.domain.errors import HousepredictError
from housepredict.domain.estimates import LEVELS, MAX_LOG_FACTOR, MAX_PRICE, Estimate, Interval, Prediction
from housepredict.domain.evaluation.measures import Accuracy, Coverage, Evaluation
from housepredict.domain.features import MAX_MAGNITUDE, MAX_TEXT, Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.idempotency import Delivery
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import Artifact, ModelVersion, Performance, SelfTest, TrainingSource, digests_of
from housepredict.domain.ports import PredictionRepository
from housepredict.domain.sales import RecordedSale
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.validation import tidy
from housepredict.testing.doubles import NOON

T = TypeVar("T")
_MAX_ITEMS = 3  # in a collection


@frozen
class Drawing:
    """A factory of Hypothesis strategies for classes whose fields have type annotations.

    `by_type` contains strategies that replace the default strategies, by the type of the drawn values.
    """

    by_type: Mapping[Any, st.SearchStrategy[Any]] = field(factory=dict)

    def builds(self, kind: type[T], **strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
        """Return a strategy for instances of an attrs class or NamedTuple. It draws every field used by `==`.

        Args:
            kind: the class.
            strategies: the strategies for some of the fields, by field name. The type of any other field determines its
                strategy.

        Raises:
            TypeError: if the class has no field with a name in `strategies`, or if there is no strategy for a field's
                type.
        """
        annotations = _fields(kind)
        if unknown := strategies.keys() - annotations.keys():
            raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        drawn = {
            name: strategies[name] if name in strategies else self._of(annotation, f"{kind.__name__}.{name}")
            for name, annotation in annotations.items()
        }

        def build(**values: Any) -> T:
            try:
                return kind(**values)
            except (HousepredictError, ValueError):  # the class has rules beyond its annotations
                reject()

        return st.builds(build, **drawn)

    def _of(self, annotation: Any, where: str) -> st.SearchStrategy[Any]:
        if annotation in self.by_type:
            return self.by_type[annotation]
        if annotation in _BY_TYPE:
            return _BY_TYPE[annotation]
        if isinstance(annotation, type) and _is_record(annotation):
            return self.builds(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return st.sampled_from(annotation)
        arguments = typing.get_args(annotation)
        match typing.get_origin(annotation):
            case typing.Union | types.UnionType:
                return st.one_of([self._of(argument, where) for argument in arguments])
            case typing.Literal:
                return st.sampled_from(arguments)
            case origin if origin is tuple and arguments[-1] is not ...:
                return st.tuples(*(self._of(argument, where) for argument in arguments))
            case origin if isinstance(origin, type) and issubclass(origin, Mapping):
                key, value = (self._of(argument, where) for argument in arguments)
                return st.dictionaries(key, value, max_size=_MAX_ITEMS)
            case origin if isinstance(origin, type) and issubclass(origin, Sequence):
                return st.lists(self._of(arguments[0], where), max_size=_MAX_ITEMS).map(tuple)
        raise TypeError(f"{where}: no strategy for {annotation}; pass one")


def exactly(value: Any) -> Any:
    """Convert a value so that `==` also compares types: in Python, 1 == 1.0 == True, but these differ in JSON."""
    if _is_record(type(value)):
        return type(value), {name: exactly(getattr(value, name)) for name in _fields(type(value))}
    if isinstance(value, Mapping):
        return {name: exactly(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [exactly(item) for item in value]
    return type(value), value


def _is_record(kind: type) -> bool:
    return attrs.has(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def _fields(kind: Any) -> dict[str, Any]:
    """Return the type annotations of the fields that `==` compares, by field name."""
    hints = typing.get_type_hints(kind)
    if not attrs.has(kind):
        return {name: hints[name] for name in kind._fields}
    return {a.name: hints[a.name] for a in attrs.fields(kind) if a.init and a.eq}


_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_BY_TYPE: Mapping[Any, st.SearchStrategy[Any]] = {
    str: _TEXTS,
    bool: st.booleans(),
    int: st.integers(0, 2**31 - 1),
    float: st.floats(-1e15, 1e15),
    date: st.dates(),
    UUID: st.uuids(),
    types.NoneType: st.none(),
}


_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 2**40),
    Value: st.one_of(_TEXTS, st.integers(-(10**15), 10**15), st.floats(-1e15, 1e15), st.booleans()),
    datetime: st.datetimes(timezones=st.just(UTC)),
}
_rules = Drawing(_PLAIN)
_VERSION_VALUES = Drawing(
    {
        **_PLAIN,
        Coverage: _rules.builds(Coverage, level=st.sampled_from(LEVELS)),
        Performance: _rules.builds(Performance, error=st.floats(0, 50)),
        TrainingOptions: Drawing({**_PLAIN, str: _TEXTS.map(tidy).filter(bool)}).builds(
            TrainingOptions,
            seed=st.integers(0, 2**32 - 1),
            time_limit=st.none() | st.floats(1e-3, 1e9),
            encoding=st.none() | st.sampled_from(("utf-8", "cp1250")),
        ),
    }
)

artifacts: st.SearchStrategy[Artifact] = st.dictionaries(_NAMES, st.binary(max_size=40), max_size=3)


def model_versions(artifact: Artifact) -> st.SearchStrategy[ModelVersion]:
    """Return a strategy for unsigned model versions with this artifact."""
    return _VERSION_VALUES.builds(ModelVersion, name=_NAMES, digests=st.just(digests_of(artifact)), signature=st.none())


def sample_version(
    name: str = "a", created_at: datetime = NOON, content: bytes = b"content"
) -> tuple[ModelVersion, Artifact]:
    """Return a model version with one feature, and its artifact, which has one file with the given content."""
    artifact = {"model.bin": content}
    measures = Accuracy(2, 1.0, 8.2, 50.0, 50.0, 100.0, 1.5, 2.5, 1.58, 0.9, None, 10.0, 1.0, -0.01)
    version = ModelVersion(
        name=name,
        created_at=created_at,
        algorithm=Algorithm.LINEAR,
        schema=FeatureSchema((Feature("size", Kind.NUMBER, unit="sq ft", minimum=0.0, observed=(370, 13540.5)),)),
        options=TrainingOptions(),
        source=TrainingSource("/sales.csv", "0" * 64),
        evaluation=Evaluation(800, 200, measures),
        self_test=(SelfTest(House({"size": 2500, "waterfront": True, "floors": 1.0}), 254206.02),),
        digests=digests_of(artifact),
        libraries={"scikit-learn": "1.9.1"},
    )
    return version, artifact


class FakeSizedBytes(bytes):
    """Bytes with a fake length, for testing sizes that are too large to allocate."""

    def __new__(cls, _size: int) -> Self:
        return super().__new__(cls)

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


_ids = IdSequence()
AFTER_ALL = UUID(int=2**128 - 1)
_LIMIT = int(MAX_MAGNITUDE)


def new_ids(count: int) -> Sequence[UUID]:
    """Return new ids, which are larger than all ids created earlier in this process."""
    return _ids.take(count, datetime.now(UTC))


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=MAX_TEXT)
"""Strategy for all valid strings."""

values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-_LIMIT, _LIMIT),
    st.floats(-MAX_MAGNITUDE, MAX_MAGNITUDE),
    st.dates().map(date.isoformat),
)
"""Strategy for all valid feature values."""

_prices = st.integers(0, int(MAX_PRICE) * 100 - 1).map(lambda cents: cents / 100)
_bounds = _prices | st.just(MAX_PRICE)

times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
"""Strategy for times in UTC."""

_PREDICTION_VALUES = Drawing({str: texts, datetime: times})

intervals = st.lists(
    _PREDICTION_VALUES.builds(Interval, level=st.integers(1, 99), low=_bounds, high=_bounds),
    unique_by=lambda interval: interval.level,
    max_size=3,
).map(lambda drawn: tuple(i._replace(low=min(i[1:3]), high=max(i[1:3])) for i in sorted(drawn)))
"""Strategy for tuples of intervals with different levels, lowest level first."""

deviations = st.integers(0, int(10_000 * math.expm1(MAX_LOG_FACTOR))).map(lambda hundredths: hundredths / 100)
"""Strategy for all valid forecast standard deviations, in percent."""

estimates = _PREDICTION_VALUES.builds(
    Estimate,
    house=st.builds(House, st.dictionaries(texts, values, max_size=5)),
    price=_prices,
    intervals=intervals,
    fsd=st.none() | deviations,
    generation=st.none() | st.integers(0, 2**53),
)
"""Strategy for estimates in which every field is drawn."""

PLAIN = Estimate(House({"size": 2500}), 254206.02, "plain")
"""A fixed estimate, for tests in which its fields don't matter. Fixed fields let Hypothesis find failures faster."""
plain_estimates = st.just(PLAIN)


@st.composite
def batches(draw: st.DrawFn, of: st.SearchStrategy[Estimate] = plain_estimates, min_size: int = 0) -> list[Prediction]:
    """Draw new predictions, which may be in any order. Their ids are larger than all ids created earlier.

    Args:
        draw: the function with which Hypothesis draws values.
        of: the strategy for the estimates.
        min_size: the minimum number of predictions.
    """
    predictions = _PREDICTION_VALUES.builds(Prediction, id=st.just(AFTER_ALL), estimate=of)
    drawn = draw(st.lists(predictions, min_size=min_size, max_size=6))
    ids = draw(st.permutations(new_ids(len(drawn))))
    return [evolve(prediction, id=id_) for id_, prediction in zip(ids, drawn, strict=True)]


def newest_first(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Sort predictions newest first, the order in which PredictionRepository.recent returns them."""
    return sorted(predictions, key=lambda prediction: prediction.id, reverse=True)


def sample_predictions(count: int) -> list[Prediction]:
    """Return `count` new predictions with the estimate PLAIN, oldest first."""
    now = datetime.now(UTC)
    return [Prediction(id_, now, PLAIN) for id_ in new_ids(count)]


def pages(repository: PredictionRepository, size: int, down_to: UUID) -> Iterator[Prediction]:
    """Yield all predictions with ids of at least `down_to`, newest first. Reads pages of `size` predictions."""
    before = None
    while page := repository.recent(size, before):
        assert before is None or max(prediction.id for prediction in page) < before
        yield from (prediction for prediction in page if prediction.id >= down_to)
        before = page[-1].id
        if before <= down_to:
            return


def prune_all(repository: PredictionRepository, before: UUID) -> None:
    """Delete all predictions with ids below `before`."""
    while repository.prune(before, 1000):
        pass


# differing_executors is suppressed because several classes inherit the tests. function_scoped_fixture is suppressed
# because examples may share a repository: each checks only its own ids, which are larger than those of earlier
# examples.
shared = settings(
    deadline=None, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture]
)

# Fewer examples, because an erasure takes milliseconds and a few examples cover all cases.
erasing = settings(shared, max_examples=25)


_SALE_VALUES = Drawing({datetime: times})
DIGESTS = ("0" * 64, "f" * 64)
"""The digests of two different requests."""

prices = st.integers(1, int(MAX_PRICE) - 1).map(float) | _prices.filter(bool)
"""Strategy for all valid sale prices."""


@st.composite
def sale_batches(draw: st.DrawFn, of: Sequence[UUID] | None = None, min_size: int = 0) -> list[RecordedSale]:
    """Draw new sales, which may be in any order.

    Args:
        draw: the function with which Hypothesis draws values.
        of: the prediction ids for which sales are recorded. By default, these are three new ids.
        min_size: the minimum number of sales.
    """
    predictions = st.sampled_from(of or new_ids(3))
    sales = _SALE_VALUES.builds(RecordedSale, id=st.just(AFTER_ALL), prediction=predictions, price=prices)
    drawn = draw(st.lists(sales, min_size=min_size, max_size=5))
    ids = draw(st.permutations(new_ids(len(drawn))))
    return [evolve(sale, id=id_) for id_, sale in zip(ids, drawn, strict=True)]


def sample_sales(count: int, **values: object) -> list[RecordedSale]:
    """Return `count` new sales, each for a different prediction. `values` are field values that all sales get."""
    price, sold_on, recorded_at = 254206.02, date(2025, 6, 3), datetime(2025, 7, 1, tzinfo=UTC)
    sales = [RecordedSale(id_, new_ids(1)[0], price, sold_on, recorded_at) for id_ in new_ids(count)]
    return [evolve(sale, **values) for sale in sales]  # type: ignore[arg-type]  # fields of a sale


def new_delivery(digest: str = DIGESTS[0]) -> Delivery:
    """Return a delivery with a new idempotency key."""
    return Delivery(f"key {new_ids(1)[0]}", digest)


def sorted_by_id(sales: Sequence[RecordedSale]) -> list[RecordedSale]:
    """Sort sales by id, which is the order in which they were recorded."""
    return sorted(sales, key=lambda sale: sale.id)


def current_sales(sales: Sequence[RecordedSale]) -> list[RecordedSale]:
    """Return the latest recorded sale of each prediction, in the order of SaleRepository.current."""
    last = {sale.prediction: sale for sale in sorted_by_id(sales)}
    return sorted(last.values(), key=lambda sale: (sale.sold_on, sale.id), reverse=True)
