"""Model versions to test with: one that is simple, and all that there can be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

from hypothesis import strategies as st

from housepredict.domain.accuracy import Accuracy
from housepredict.domain.estimates import LEVELS
from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.models import (
    Algorithm,
    Artefact,
    Coverage,
    Evaluation,
    ModelVersion,
    SelfTest,
    TrainingOptions,
    TrainingSource,
    digests_of,
)
from housepredict.domain.texts import tidy
from housepredict.domain.verdicts import Performance
from housepredict.testing.drawing import Drawing

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)

_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXTS,
    int: st.integers(0, 2**40),
    float: st.floats(-1e15, 1e15),
    Value: st.one_of(_TEXTS, st.integers(-(10**15), 10**15), st.floats(-1e15, 1e15), st.booleans()),
    datetime: st.datetimes(timezones=st.just(UTC)),
}
_TIME_LIMITS = st.none() | st.floats(1e-3, 1e9)
_rules = Drawing(_PLAIN)
_drawing = Drawing(
    {
        **_PLAIN,
        Coverage: _rules.builds(Coverage, level=st.sampled_from(LEVELS)),
        Performance: _rules.builds(Performance, error=st.floats(0, 50)),
        TrainingOptions: Drawing({**_PLAIN, str: _TEXTS.map(tidy).filter(bool)}).builds(
            TrainingOptions,
            seed=st.integers(0, 2**32 - 1),
            time_limit=_TIME_LIMITS,
            encoding=st.none() | st.sampled_from(("utf-8", "cp1250")),
        ),
    }
)

artefacts: st.SearchStrategy[Artefact] = st.dictionaries(_NAMES, st.binary(max_size=40), max_size=3)


def model_versions(artefact: Artefact) -> st.SearchStrategy[ModelVersion]:
    """Manifests of all shapes for an artefact."""
    # tests of signatures sign for themselves
    return _drawing.builds(ModelVersion, name=_NAMES, digests=st.just(digests_of(artefact)), signature=st.none())


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
