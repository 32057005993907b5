"""The use case of explaining, and the explanations that it gives."""

from __future__ import annotations

import math

import pytest
from attrs import define, field, frozen

from housepredict.adapters.live_model import StoredExplainers
from housepredict.adapters.memory import InMemoryModels, InMemoryPredictions
from housepredict.domain.errors import InvalidHouses, NoExplanation, UnknownModel
from housepredict.domain.estimates import Contribution, Explanation, Prediction, Unit
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.usecases.predict import Explain
from housepredict.testing.drawing import sample_version
from tests.explaining import ExplainedBySize
from tests.training import PricePerArea
from tests.unit.test_predict import FullPredictions, predict, predictor


@define
class Explainers:
    """An explainer for every version but `without`."""

    without: str = ""
    asked: list[str] = field(factory=list)

    def __call__(self, version: ModelVersion) -> ExplainedBySize:
        self.asked.append(version.name)
        if version.name == self.without:
            raise NoExplanation
        return ExplainedBySize(version)


def explain(
    *predictors: PricePerArea, into: InMemoryPredictions | None = None, by: Explainers | None = None
) -> Explain:
    return Explain(predict(*predictors, into=into), by or Explainers())


def test_each_estimate_has_its_explanation_and_is_recorded_without_it() -> None:
    kept = InMemoryPredictions()
    given = explain(predictor(), into=kept)([{"size": 100}, {"size": 60}])
    assert [each.price for each in given] == [100_000.0, 60_000.0]
    assert [each.explanation.contributions for each in given] == [
        (Contribution(("size",), 100_000.0),),
        (Contribution(("size",), 60_000.0),),
    ]
    recorded = kept.recent(10)
    assert {type(each) for each in recorded} == {Prediction}
    assert [(each.id, each.created_at, each.estimate) for each in recorded] == [
        (each.id, each.created_at, each.estimate) for each in reversed(given)
    ]


def test_the_explanation_is_by_the_version_that_estimated() -> None:
    by = Explainers()
    use_case = explain(predictor("one"), predictor("two"), by=by)
    versions = [use_case.one({"size": 100}).estimate.model_version for _ in range(2)]
    assert versions == by.asked == ["one", "two"]


def test_what_cannot_be_explained_is_not_recorded() -> None:
    kept = InMemoryPredictions()
    with pytest.raises(NoExplanation, match="Retrain"):
        explain(predictor("old"), into=kept, by=Explainers(without="old")).one({"size": 100})
    assert list(kept.recent(10)) == []


def test_what_was_not_recorded_is_not_returned() -> None:
    with pytest.raises(Exception, match="full"):
        explain(predictor(), into=FullPredictions()).one({"size": 100})


def test_no_house_is_explained_that_is_none() -> None:
    by = Explainers()
    with pytest.raises(InvalidHouses):
        explain(predictor(), by=by).one({"size": "big"})
    assert by.asked == []


def test_a_contribution_to_a_logarithm_is_a_percentage_of_the_price() -> None:
    explanation = Explanation(Unit.LOG_PRICE, math.log(200_000), (Contribution(("lat", "long"), math.log(1.1)),))
    assert explanation.base_price == pytest.approx(200_000)
    (contribution,) = explanation.contributions
    assert contribution.name == "lat, long"
    assert contribution.percent == pytest.approx(10)
    assert math.isfinite(Contribution(("size",), 1e6).percent)


def test_a_contribution_to_a_price_starts_from_a_price() -> None:
    assert Explanation(Unit.PRICE, 200_000, ()).base_price == 200_000


@frozen
class CountingLoader:
    loaded: list[str] = field(factory=list)

    def __call__(self, version: ModelVersion, artifact: Artifact) -> ExplainedBySize:
        self.loaded.append(version.name)
        return ExplainedBySize(version)


def test_an_explainer_is_loaded_when_it_is_asked_for_and_stays_until_another_is() -> None:
    models, load = InMemoryModels(), CountingLoader()
    versions = {name: sample_version(name) for name in ("one", "two")}
    for each in versions.values():
        models.add(*each)
    explainers = StoredExplainers(models, load)
    for name in ("one", "one", "two", "one"):
        assert explainers(versions[name][0]).version.name == name
    assert load.loaded == ["one", "two", "one"]


def test_the_demonstration_is_explained_though_it_is_in_no_store() -> None:
    version, _ = sample_version("demonstration")
    demonstration, load = ExplainedBySize(version), CountingLoader()
    assert StoredExplainers(InMemoryModels(), load, demonstration)(version) is demonstration
    with pytest.raises(UnknownModel):
        StoredExplainers(InMemoryModels(), load)(version)
