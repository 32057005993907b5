"""The contract suite of loaders, for the one that there is and around another, and that it can fail."""

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


def proven(version: ModelVersion, artifact: Artifact, predictor: Predictor) -> Kept:
    """The version, its self-test being what a predictor says."""
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
        return proven(version, artifact, load_predictor(version, artifact))


class TestDemonstration(PredictorLoaderContract):
    """A version as trainings keep them."""

    @pytest.fixture
    def load(self) -> PredictorLoader:
        return load_predictor

    @pytest.fixture
    def kept(self) -> Kept:
        return read_demonstration()


class TestProvenLoader(PredictorLoaderContract):
    """Around a loader that looks at nothing."""

    @pytest.fixture
    def load(self) -> PredictorLoader:
        return CheckedLoader("careless", LabModel)

    @pytest.fixture
    def kept(self) -> Kept:
        version, artifact = lab_version()
        return proven(version, artifact, LabModel(version))


@pytest.mark.parametrize("raised", [KeyError("gone"), RuntimeError("odd"), ValueError("wrong")])
def test_whatever_a_plug_in_raises_refuses_the_version_and_names_the_plug_in(raised: Exception) -> None:
    def load(version: ModelVersion, artifact: Artifact) -> Predictor:
        raise raised

    with pytest.raises(RefusedModel, match="by the plug-in odd") as caught:
        CheckedLoader("odd", load)(*lab_version())
    assert caught.value.__cause__ is raised


def test_what_a_plug_in_says_in_our_words_stays_as_it_is() -> None:
    raised = NoModel()

    def load(version: ModelVersion, artifact: Artifact) -> Predictor:
        raise raised

    with pytest.raises(HousepredictError) as caught:
        CheckedLoader("frank", load)(*lab_version())
    assert caught.value is raised


def test_a_plug_in_that_breaks_down_at_the_self_test_refuses_the_version() -> None:
    @frozen
    class Breaking(LabModel):
        def predict(self, houses: Sequence[House]) -> Valuation:
            return Valuation(LabModel.predict(self, houses).prices[1:])

    with pytest.raises(RefusedModel, match="by the plug-in short"):
        CheckedLoader("short", Breaking)(*lab_version())


class Changing(LabModel):
    """Says something else than the model of its manifest."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        return self.change(list(LabModel.predict(self, houses).prices))

    def change(self, prices: list[float]) -> Valuation:
        raise NotImplementedError


class Nameless(LabModel):
    def __init__(self, version: ModelVersion, artifact: Artifact) -> None:
        super().__init__(evolve(version, name="another"), artifact)


class Dear(Changing):
    def change(self, prices: list[float]) -> Valuation:
        return Valuation([price + 1 for price in prices])


class Relative(Changing):
    """Looks at how many there are."""

    def change(self, prices: list[float]) -> Valuation:
        return Valuation([price + (len(prices) > len(HOUSES)) for price in prices])


class Never(Changing):
    def change(self, prices: list[float]) -> Valuation:
        return Valuation(prices or [0.0])


class HalfSure(Changing):
    def change(self, prices: list[float]) -> Valuation:
        return Valuation(prices, [1.0])


@define(slots=False)
class Restless:
    """Says another price each time."""

    version: ModelVersion
    _artifact: Artifact
    _times: count[int] = field(factory=count)

    def predict(self, houses: Sequence[House]) -> Valuation:
        more = next(self._times)
        return Valuation([price + more for price in LabModel(self.version).predict(houses).prices])


def unproven(version: ModelVersion, artifact: Artifact) -> Predictor:
    verify(version, artifact)
    return LabModel(version, artifact)


def unverified(version: ModelVersion, artifact: Artifact) -> Predictor:
    predictor = LabModel(version, artifact)
    require_self_test(predictor)
    return predictor


FAILURES: dict[str, PredictorLoader] = {
    "test_predictor_has_its_version": Nameless,
    "test_prices_match_self_test": Dear,
    "test_prices_do_not_depend_on_batch": Relative,
    "test_empty_batch_has_no_prices": Never,
    "test_spreads_cover_all_houses_or_none": HalfSure,
    "test_predictor_is_thread_safe": Restless,
    "test_files_that_differ_from_manifest_are_rejected": unverified,
    "test_version_that_fails_self_test_is_rejected": unproven,
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_broken_loader_fails_the_suite(name: str) -> None:
    version, artifact = lab_version()
    kept = proven(version, artifact, LabModel(version))
    load = FAILURES[name]
    given = {"load": load, "kept": kept, "predictor": load(*kept)}
    test = getattr(PredictorLoaderContract(), name)
    needed = {each: given[each] for each in signature(test).parameters}
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(**needed)


def test_every_test_of_the_suite_is_seen_to_fail() -> None:
    assert {name for name in dir(PredictorLoaderContract) if name.startswith("test_")} == FAILURES.keys()


def test_a_house_that_is_none_fails_the_self_test() -> None:
    version, artifact = sample_version(a_log_form(), self_test=(SelfTest(a_house(size="large"), 1.0),))
    with pytest.raises(RefusedModel, match="self-test"):
        load_predictor(version, artifact)


def test_the_demonstration_passes_its_self_test() -> None:
    require_self_test(load_demonstration())
