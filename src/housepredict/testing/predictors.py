"""The contract of a PredictorLoader, as tests: what the service takes for granted of whatever loads model versions.

class TestMyLoader(PredictorLoaderContract):
    @pytest.fixture
    def load(self):
        return my_loader

    @pytest.fixture
    def kept(self):
        return version, artefact
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import whole_cents
from housepredict.domain.features import House
from housepredict.domain.models import Artefact, ModelVersion, SelfTest
from housepredict.domain.ports import Predictor, PredictorLoader

Kept = tuple[ModelVersion, Artefact]


def houses_of(version: ModelVersion) -> Sequence[House]:
    """The houses whose prices are known."""
    return [each.house for each in version.self_test]


class PredictorLoaderContract:
    """Subclass it, and give it the fixtures `load`, the loader, and `kept`: a version that it takes, and its files."""

    @pytest.fixture
    def load(self) -> PredictorLoader:
        """The loader to test."""
        raise NotImplementedError("a subclass of PredictorLoaderContract needs the fixture `load`")

    @pytest.fixture
    def kept(self) -> Kept:
        """A version with two houses or more in its self-test, and the files that are kept of it."""
        raise NotImplementedError("a subclass of PredictorLoaderContract needs the fixture `kept`")

    @pytest.fixture
    def predictor(self, load: PredictorLoader, kept: Kept) -> Predictor:
        """What the loader makes of the version."""
        return load(*kept)

    def test_a_predictor_says_which_version_it_is(self, predictor: Predictor, kept: Kept) -> None:
        assert predictor.version == kept[0]

    def test_the_houses_of_the_self_test_get_their_prices(self, predictor: Predictor, kept: Kept) -> None:
        prices = predictor.predict(houses_of(kept[0])).prices
        assert len(prices) >= 2, "the version's self-test has too few houses to show anything"
        assert list(map(whole_cents, prices)) == [whole_cents(each.price) for each in kept[0].self_test]

    def test_a_price_does_not_depend_on_the_houses_beside_it(self, predictor: Predictor, kept: Kept) -> None:
        houses = houses_of(kept[0])
        alone = [predictor.predict([house]) for house in houses]
        together = predictor.predict([*houses, *reversed(houses), *houses])
        assert list(together.prices) == [each.prices[0] for each in (*alone, *reversed(alone), *alone)]

    def test_no_houses_have_no_prices(self, predictor: Predictor) -> None:
        assert list(predictor.predict([]).prices) == []

    def test_it_says_of_every_house_how_sure_it_is_or_of_none(self, predictor: Predictor, kept: Kept) -> None:
        valuation = predictor.predict(houses_of(kept[0]))
        assert valuation.spreads is None or len(valuation.spreads) == len(valuation.prices)
        assert all(each > 0 for each in valuation.spreads or ())

    def test_threads_may_share_a_predictor(self, predictor: Predictor, kept: Kept) -> None:
        houses = houses_of(kept[0])
        prices = list(predictor.predict(houses).prices)
        with ThreadPoolExecutor(4) as threads:
            assert all(list(each.prices) == prices for each in threads.map(predictor.predict, [houses] * 40))

    def test_files_that_are_not_those_of_the_manifest_are_refused(self, load: PredictorLoader, kept: Kept) -> None:
        version, artefact = kept
        for name, content in artefact.items():
            for damaged in (
                {**artefact, name: content + b"\0"},
                {each: artefact[each] for each in artefact if each != name},
                {**artefact, "more": b""},
            ):
                with pytest.raises(RefusedModel):
                    load(version, damaged)

    def test_a_version_that_fails_its_self_test_is_refused(self, load: PredictorLoader, kept: Kept) -> None:
        version, artefact = kept
        wrong = [SelfTest(each.house, each.price + 1000) for each in version.self_test]
        with pytest.raises(RefusedModel):
            load(evolve(version, self_test=tuple(wrong)), artefact)
