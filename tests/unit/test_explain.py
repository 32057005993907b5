"""The Explain use case, explanations and stored explainers."""

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
    requested: list[str] = field(factory=list)

    def __call__(self, version: ModelVersion) -> ExplainedBySize:
        self.requested.append(version.name)
        if version.name == self.without:
            raise NoExplanation
        return ExplainedBySize(version)


def explain(
    *predictors: PricePerArea, into: InMemoryPredictions | None = None, explainers: Explainers | None = None
) -> Explain:
    return Explain(predict(*predictors, into=into), explainers or Explainers())


def test_explained_prediction_is_stored_without_explanation() -> None:
    repository = InMemoryPredictions()
    predictions = explain(predictor(), into=repository)([{"size": 100}, {"size": 60}])
    assert [each.price for each in predictions] == [100_000.0, 60_000.0]
    assert [each.explanation.contributions for each in predictions] == [
        (Contribution(("size",), 100_000.0),),
        (Contribution(("size",), 60_000.0),),
    ]
    recorded = repository.recent(10)
    assert {type(each) for each in recorded} == {Prediction}
    assert [(each.id, each.created_at, each.estimate) for each in recorded] == [
        (each.id, each.created_at, each.estimate) for each in reversed(predictions)
    ]


def test_explanation_is_by_the_version_that_estimated() -> None:
    explainers = Explainers()
    use_case = explain(predictor("one"), predictor("two"), explainers=explainers)
    versions = [use_case.one({"size": 100}).estimate.model_version for _ in range(2)]
    assert versions == explainers.requested == ["one", "two"]


def test_unexplained_prediction_is_not_stored() -> None:
    repository = InMemoryPredictions()
    with pytest.raises(NoExplanation, match="Retrain"):
        explain(predictor("old"), into=repository, explainers=Explainers(without="old")).one({"size": 100})
    assert list(repository.recent(10)) == []


def test_unstored_prediction_is_not_returned() -> None:
    with pytest.raises(Exception, match="full"):
        explain(predictor(), into=FullPredictions()).one({"size": 100})


def test_invalid_house_is_not_explained() -> None:
    explainers = Explainers()
    with pytest.raises(InvalidHouses):
        explain(predictor(), explainers=explainers).one({"size": "big"})
    assert explainers.requested == []


def test_contribution_to_log_price_is_a_percentage() -> None:
    explanation = Explanation(Unit.LOG_PRICE, math.log(200_000), (Contribution(("lat", "long"), math.log(1.1)),))
    assert explanation.base_price == pytest.approx(200_000)
    (contribution,) = explanation.contributions
    assert contribution.name == "lat, long"
    assert contribution.percent == pytest.approx(10)
    assert math.isfinite(Contribution(("size",), 1e6).percent)


def test_explanation_in_price_units_has_base_price() -> None:
    assert Explanation(Unit.PRICE, 200_000, ()).base_price == 200_000


@frozen
class CountingLoader:
    loaded: list[str] = field(factory=list)

    def __call__(self, version: ModelVersion, artifact: Artifact) -> ExplainedBySize:
        self.loaded.append(version.name)
        return ExplainedBySize(version)


def test_explainer_is_loaded_on_demand_and_cached() -> None:
    models, load = InMemoryModels(), CountingLoader()
    versions = {name: sample_version(name) for name in ("one", "two")}
    for each in versions.values():
        models.add(*each)
    explainers = StoredExplainers(models, load)
    for name in ("one", "one", "two", "one"):
        assert explainers(versions[name][0]).version.name == name
    assert load.loaded == ["one", "two", "one"]


def test_demo_model_is_explained_without_a_store() -> None:
    version, _ = sample_version("demonstration")
    demonstration, load = ExplainedBySize(version), CountingLoader()
    assert StoredExplainers(InMemoryModels(), load, demonstration)(version) is demonstration
    with pytest.raises(UnknownModel):
        StoredExplainers(InMemoryModels(), load)(version)
