"""Model versions to test with: one that is simple, and all that there can be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

from hypothesis import strategies as st

from housepredict.domain.accuracy import Accuracy
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.intervals import CoverageTest, IntervalChoice, IntervalKind
from housepredict.domain.models import (
    Algorithm,
    Artefact,
    Bounds,
    Coverage,
    Effort,
    Evaluation,
    LaterEvaluation,
    ModelVersion,
    Segment,
    SelfTest,
    TrainingOptions,
    TrainingSource,
    digests_of,
)
from housepredict.domain.verdicts import Comparison, Performance, Verdict

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)

_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_COUNTS = st.integers(0, 2**40)
_NUMBERS = st.floats(-1e15, 1e15)
_SEGMENTS = st.lists(st.builds(Segment, _TEXTS, _COUNTS, _NUMBERS, _NUMBERS, st.none() | _NUMBERS), max_size=2).map(
    tuple
)
_ACCURACIES = st.builds(
    Accuracy,
    n=_COUNTS,
    **dict.fromkeys(("median_ratio", "mdape", "ppe5", "ppe10", "ppe20", "mae", "mse", "rmse"), _NUMBERS),
    **dict.fromkeys(("r2", "fsd", "cod", "prd", "prb"), st.none() | _NUMBERS),
)
_COVERAGES = st.lists(st.builds(Coverage, st.sampled_from((80, 90)), _NUMBERS, st.none() | _NUMBERS), max_size=2).map(
    tuple
)
_VALUES = st.one_of(_TEXTS, st.integers(-(10**15), 10**15), _NUMBERS, st.booleans())

artefacts: st.SearchStrategy[Artefact] = st.dictionaries(_NAMES, st.binary(max_size=40), max_size=3)


def model_versions(artefact: Artefact) -> st.SearchStrategy[ModelVersion]:
    """Manifests of all shapes for an artefact."""
    features = st.builds(
        Feature,
        name=_TEXTS,
        kind=st.sampled_from(Kind),
        minimum=st.none() | _NUMBERS,
        maximum=st.none() | _NUMBERS,
        observed=st.none() | st.tuples(_VALUES, _VALUES),
        categories=st.lists(_TEXTS, max_size=3).map(tuple),
        unit=st.none() | _TEXTS,
        closed=st.booleans(),
        usual=st.none() | st.tuples(_VALUES, _VALUES),
        rare=st.lists(_TEXTS, max_size=2).map(tuple),
    )
    performances = st.builds(Performance, st.floats(0, 50), _ACCURACIES, st.none() | _NUMBERS, _NUMBERS)
    comparisons = st.none() | st.builds(Comparison, _TEXTS, _COUNTS, _NUMBERS, performances, performances)
    return st.builds(
        ModelVersion,
        name=_NAMES,
        created_at=st.datetimes(timezones=st.just(UTC)),
        algorithm=st.sampled_from(Algorithm),
        schema=st.builds(
            FeatureSchema, features=st.lists(features, max_size=3).map(tuple), valuation_date=st.none() | st.dates()
        ),
        options=st.builds(
            TrainingOptions,
            exclude=st.lists(_TEXTS, max_size=2).map(tuple),
            kinds=st.dictionaries(_TEXTS, st.sampled_from(Kind), max_size=2),
            algorithm=st.sampled_from(Algorithm),
            effort=st.sampled_from(Effort),
            time_limit=st.none() | st.floats(1e-3, 1e9),
        ),
        source=st.builds(TrainingSource, st.none() | _TEXTS, _TEXTS, st.none() | _COUNTS),
        evaluation=st.builds(
            Evaluation,
            trained_on=_COUNTS,
            held_out=_COUNTS,
            accuracy=_ACCURACIES,
            bounds=st.dictionaries(_TEXTS, st.builds(Bounds, _NUMBERS, _NUMBERS), max_size=2),
            coverage=_COVERAGES,
            price_tenths=_SEGMENTS,
            category=st.none() | _TEXTS,
            categories=_SEGMENTS,
            later=st.none() | st.builds(LaterEvaluation, st.dates(), _COUNTS, _COUNTS, _ACCURACIES, _COVERAGES),
            why_no_later=st.none() | _TEXTS,
        ),
        self_test=st.lists(
            st.builds(SelfTest, st.builds(House, st.dictionaries(_TEXTS, _VALUES, max_size=3)), _NUMBERS), max_size=2
        ).map(tuple),
        digests=st.just(digests_of(artefact)),
        libraries=st.dictionaries(_TEXTS, _TEXTS, max_size=2),
        calibration=st.none()
        | st.builds(
            Calibration,
            st.none() | _NUMBERS,
            st.none() | _NUMBERS,
            deviation=_NUMBERS,
            within_tenths=st.lists(_NUMBERS, max_size=9).map(tuple),
        ),
        irreproducible=st.none() | _TEXTS,
        verdict=st.none()
        | st.builds(Verdict, st.booleans(), st.lists(_TEXTS, max_size=2).map(tuple), comparison=comparisons),
        intervals=st.none()
        | st.builds(
            IntervalChoice,
            st.sampled_from(IntervalKind),
            st.lists(
                st.builds(CoverageTest, st.sampled_from(IntervalKind), _COUNTS, _COUNTS, _COUNTS, st.floats(0, 1)),
                max_size=2,
            ).map(tuple),
            st.lists(_TEXTS, max_size=2).map(tuple),
        ),
    )


def a_version(
    name: str = "a", created_at: datetime = NOON, content: bytes = b"content"
) -> tuple[ModelVersion, Artefact]:
    """A version with one feature and one file."""
    artefact = {"model.bin": content}
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
        digests=digests_of(artefact),
        libraries={"scikit-learn": "1.9.1"},
    )
    return version, artefact


class OfSize(bytes):
    """Content that says it has so many bytes, which nobody would want to make."""

    def __new__(cls, _size: int) -> Self:
        return super().__new__(cls)

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


def exactly(version: ModelVersion) -> tuple[Any, ...]:
    """A version, to be compared with the types of its values: 1, 1.0 and True are equal, and not the same."""
    return (
        version,
        [[type(value) for value in feature.observed or ()] for feature in version.schema.features],
        [{name: type(value) for name, value in test.house.values.items()} for test in version.self_test],
    )
