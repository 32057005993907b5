"""Predictions as tests draw them, and how they are read back: for the suites of repositories, and for others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from housepredict.domain.estimates import MAX_LOG_FACTOR, MAX_PRICE, Estimate, Interval, Prediction
from housepredict.domain.features import House
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.ports import PredictionRepository
from housepredict.domain.validation import MAX_MAGNITUDE, MAX_TEXT
from housepredict.testing.drawing import Drawing

new_ids = IdSequence()
AFTER_ALL = UUID(int=2**128 - 1)
_LIMIT = int(MAX_MAGNITUDE)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=MAX_TEXT)
"""Every text that validation lets through."""

values = st.one_of(
    texts,
    st.booleans(),
    st.integers(-_LIMIT, _LIMIT),
    st.floats(-MAX_MAGNITUDE, MAX_MAGNITUDE),
    st.dates().map(date.isoformat),
)
"""Every value of a feature that validation lets through."""

_prices = st.integers(0, int(MAX_PRICE) * 100 - 1).map(lambda cents: cents / 100)
_bounds = _prices | st.just(MAX_PRICE)

times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
"""Times in UTC."""

_drawing = Drawing({str: texts, datetime: times})

intervals = st.lists(
    _drawing.builds(Interval, level=st.integers(1, 99), low=_bounds, high=_bounds),
    unique_by=lambda each: each.level,
    max_size=3,
).map(lambda drawn: tuple(each._replace(low=min(each[1:3]), high=max(each[1:3])) for each in sorted(drawn)))
"""Intervals of different levels, lowest level first, as models give them."""

deviations = st.integers(0, int(10_000 * math.expm1(MAX_LOG_FACTOR))).map(lambda hundredths: hundredths / 100)
"""Every forecast standard deviation that a model may give, in percent."""

estimates = _drawing.builds(
    Estimate,
    house=st.builds(House, st.dictionaries(texts, values, max_size=5)),
    price=_prices,
    intervals=intervals,
    fsd=st.none() | deviations,
    generation=st.none() | st.integers(0, 2**53),
)
"""Estimates with everything that a model may say of a house."""

plain = st.just(Estimate(House({"size": 2500}), 254206.02, "plain"))
"""An estimate for tests that are not about what is in it: the less is drawn, the sooner a failure is found."""


@st.composite
def batches(draw: st.DrawFn, of: st.SearchStrategy[Estimate] = plain, min_size: int = 0) -> list[Prediction]:
    """New predictions in any order, with ids that are above all that were drawn before."""
    predictions = _drawing.builds(Prediction, id=st.just(AFTER_ALL), estimate=of)
    drawn = draw(st.lists(predictions, min_size=min_size, max_size=6))
    ids = draw(st.permutations(new_ids.take(len(drawn), datetime.now(UTC))))
    return [evolve(each, id=id_) for id_, each in zip(ids, drawn, strict=True)]


def newest_first(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The order in which a repository gives predictions."""
    return sorted(predictions, key=lambda each: each.id, reverse=True)


def kinds(prediction: Prediction) -> list[type]:
    """The types of all values of a prediction that are numbers, or might be."""
    estimate = prediction.estimate
    values = [value for _, value in sorted(estimate.house.values.items())]
    bounds = [value for each in estimate.intervals for value in (each.level, each.low, each.high)]
    return [type(value) for value in (*values, estimate.price, *bounds, estimate.fsd, estimate.generation)]


def pages(repository: PredictionRepository, size: int, down_to: UUID) -> Iterator[Prediction]:
    """Everything from the id `down_to` on, newest first, read in pages."""
    before = None
    while page := repository.recent(size, before):
        assert before is None or max(each.id for each in page) < before
        yield from (each for each in page if each.id >= down_to)
        before = page[-1].id
        if before <= down_to:
            return


def prune_all(repository: PredictionRepository, before: UUID) -> None:
    """Forget everything with an id below `before`."""
    while repository.prune(before, 1000):
        pass


# Two health checks are suppressed. differing_executors: the tests are inherited and run by several classes, which is
# what they are for. function_scoped_fixture: examples share the repository, which is fine because the ids of an example
# are above those of the examples before it, and each looks at its own alone.
# No deadline: how long a disk or a server takes is not what these tests are about.
shared = settings(
    deadline=None, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture]
)

# erasing takes a repository some milliseconds, and few examples show all there is to it
erasing = settings(shared, max_examples=25)
