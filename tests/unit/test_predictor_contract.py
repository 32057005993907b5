"""The loader contract: the built-in and a checked loader pass, and broken loaders fail."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from itertools import count

import pytest
from attrs import define, evolve, field, frozen

from housepredict.adapters.live_model import CheckedLoader
from housepredict.adapters.serving.demonstration import load_demonstration, read_demonstration
from housepredict.adapters.serving.loader import load_predictor
from housepredict.domain.errors import HousepredictError, NoModel, RefusedModel
from housepredict.domain.evaluation.self_test import require_self_test
from housepredict.domain.features import House
from housepredict.domain.models import Artifact, ModelVersion, SelfTest, verify
from housepredict.domain.ports import Predictor, PredictorLoader, Valuation
from housepredict.testing.model_contract import Kept, PredictorLoaderContract
from tests.factories import a_house, a_log_form, sample_version
from tests.http_service import LAB_HOUSE, LabModel, lab_version

HOUSES = [House(LAB_HOUSE), House({**LAB_HOUSE, "size": 900.5})]


def with_self_test(version: ModelVersion, artifact: Artifact, predictor: Predictor) -> Kept:
    """Return the version with a self-test from the predictor, and its artifact."""
    prices = predictor.predict(HOUSES).prices
    tests = tuple(SelfTest(house, price) for house, price in zip(HOUSES, prices, strict=True))
    return evolve(version, self_test=tests), artifact


class TestLoadPredictor(PredictorLoaderContract):
    @pytest.fixture
    def load(self) -> PredictorLoader:
        return load_predictor

    @pytest.fixture
    def kept(self) -> Kept:
        version, artifact = sample_version(a_log_form())
        return with_self_test(version, artifact, load_predictor(version, artifact))


class TestDemoModel(PredictorLoaderContract):
    """The demo model, stored as training stores versions."""

    @pytest.fixture
    def load(self) -> PredictorLoader:
        return load_predictor

    @pytest.fixture
    def kept(self) -> Kept:
        return read_demonstration()


class TestCheckedLoader(PredictorLoaderContract):
    """A checked loader around one that verifies nothing."""

    @pytest.fixture
    def load(self) -> PredictorLoader:
        return CheckedLoader("careless", LabModel)

    @pytest.fixture
    def kept(self) -> Kept:
        version, artifact = lab_version()
        return with_self_test(version, artifact, LabModel(version))


@pytest.mark.parametrize("raised", [KeyError("gone"), RuntimeError("odd"), ValueError("wrong")])
def test_any_plugin_error_rejects_version_and_names_plugin(raised: Exception) -> None:
    def load(version: ModelVersion, artifact: Artifact) -> Predictor:
        raise raised

    with pytest.raises(RefusedModel, match="by the plug-in odd") as caught:
        CheckedLoader("odd", load)(*lab_version())
    assert caught.value.__cause__ is raised


def test_housepredict_errors_of_plugins_pass_through() -> None:
    raised = NoModel()

    def load(version: ModelVersion, artifact: Artifact) -> Predictor:
        raise raised

    with pytest.raises(HousepredictError) as caught:
        CheckedLoader("frank", load)(*lab_version())
    assert caught.value is raised


def test_plugin_failing_at_self_test_rejects_version() -> None:
    @frozen
    class Breaking(LabModel):
        def predict(self, houses: Sequence[House]) -> Valuation:
            return Valuation(LabModel.predict(self, houses).prices[1:])

    with pytest.raises(RefusedModel, match="by the plug-in short"):
        CheckedLoader("short", Breaking)(*lab_version())


class ChangedPrices(LabModel):
    """A predictor whose prices differ from those of its manifest."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        return self.change(list(LabModel.predict(self, houses).prices))

    def change(self, prices: list[float]) -> Valuation:
        raise NotImplementedError


class RenamedVersion(LabModel):
    def __init__(self, version: ModelVersion, artifact: Artifact) -> None:
        super().__init__(evolve(version, name="another"), artifact)


class RaisedPrices(ChangedPrices):
    def change(self, prices: list[float]) -> Valuation:
        return Valuation([price + 1 for price in prices])


class BatchDependentPrices(ChangedPrices):
    """A predictor whose prices depend on the batch size."""

    def change(self, prices: list[float]) -> Valuation:
        return Valuation([price + (len(prices) > len(HOUSES)) for price in prices])


class PricesForEmptyBatch(ChangedPrices):
    def change(self, prices: list[float]) -> Valuation:
        return Valuation(prices or [0.0])


class MissingSpread(ChangedPrices):
    def change(self, prices: list[float]) -> Valuation:
        return Valuation(prices, [1.0])


@define(slots=False)
class VaryingPrices:
    """A predictor whose prices change with each call."""

    version: ModelVersion
    _artifact: Artifact
    _times: count[int] = field(factory=count)

    def predict(self, houses: Sequence[House]) -> Valuation:
        more = next(self._times)
        return Valuation([price + more for price in LabModel(self.version).predict(houses).prices])


def load_without_self_test(version: ModelVersion, artifact: Artifact) -> Predictor:
    verify(version, artifact)
    return LabModel(version, artifact)


def load_without_verification(version: ModelVersion, artifact: Artifact) -> Predictor:
    predictor = LabModel(version, artifact)
    require_self_test(predictor)
    return predictor


FAILURES: dict[str, PredictorLoader] = {
    "test_predictor_has_its_version": RenamedVersion,
    "test_prices_match_self_test": RaisedPrices,
    "test_prices_do_not_depend_on_batch": BatchDependentPrices,
    "test_empty_batch_has_no_prices": PricesForEmptyBatch,
    "test_spreads_cover_all_houses_or_none": MissingSpread,
    "test_predictor_is_thread_safe": VaryingPrices,
    "test_files_that_differ_from_manifest_are_rejected": load_without_verification,
    "test_version_that_fails_self_test_is_rejected": load_without_self_test,
}


@pytest.mark.parametrize("name", FAILURES)
def test_contract_detects_broken_loaders(name: str) -> None:
    version, artifact = lab_version()
    kept = with_self_test(version, artifact, LabModel(version))
    load = FAILURES[name]
    available = {"load": load, "kept": kept, "predictor": load(*kept)}
    test = getattr(PredictorLoaderContract(), name)
    needed = {each: available[each] for each in signature(test).parameters}
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(**needed)


def test_each_contract_test_has_a_failing_loader() -> None:
    assert {name for name in dir(PredictorLoaderContract) if name.startswith("test_")} == FAILURES.keys()


def test_invalid_house_fails_self_test() -> None:
    version, artifact = sample_version(a_log_form(), self_test=(SelfTest(a_house(size="large"), 1.0),))
    with pytest.raises(RefusedModel, match="self-test"):
        load_predictor(version, artifact)


def test_demo_model_passes_self_test() -> None:
    require_self_test(load_demonstration())
