"""Promotion after training, and promotion and rollback by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve, frozen

from housepredict.adapters.memory import InMemoryModels
from housepredict.domain.errors import (
    RefusedModel,
    UnknownModel,
)
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.models import Artifact, ModelVersion, TrainingSource
from housepredict.domain.usecases.train import Promote, Training
from housepredict.testing.drawing import sample_version
from tests.training import (
    OPTIONS,
    FrozenClock,
    ListedSales,
    ListedTrainer,
    PricePerArea,
    ignore,
    load,
    refuse,
    table,
    training,
)


def champion_of(models: InMemoryModels, **changes: Any) -> ModelVersion:
    """Add and promote a version with the feature `size`."""
    version, artifact = sample_version("champion")
    version = evolve(version, **changes)
    models.add(version, artifact)
    models.promote(version.name)
    return version


@frozen
class LoadsChampionAs:
    """A loader with its own price per area for the champion."""

    champion: float

    def __call__(self, version: ModelVersion, artifact: Artifact) -> PricePerArea:
        return PricePerArea(version, self.champion if version.name == "champion" else 1000.0)


class TestPromotionAfterTraining:
    """Listed prices are 1,100 per area. A perfect model has a COD of 0, no worse than the champion's."""

    def trained(
        self,
        models: InMemoryModels,
        *,
        per_area: float,
        champion: float,
        location: str | None = "/sales.csv",
        **how: Any,
    ) -> Training:
        train = training(
            models=models,
            trainer=ListedTrainer(price=lambda house: per_area * float(house.values["size"])),
            load=LoadsChampionAs(champion),
        )
        return train(ListedSales(location), OPTIONS, ignore, **how)

    @pytest.mark.parametrize("location", ["/sales.csv", None], ids=["real sales", "synthetic sales"])
    def test_first_version_is_promoted_with_reason(self, location: str | None) -> None:
        made = self.trained(InMemoryModels(), per_area=1000, champion=0, location=location)
        assert made.verdict.promoted
        assert made.verdict.reasons == ("No version is promoted yet.",)

    @pytest.mark.parametrize("if_incomparable", [True, False])
    def test_first_version_below_floor_is_stored_only(self, if_incomparable: bool) -> None:
        models = InMemoryModels()
        made = self.trained(models, per_area=500, champion=0, if_incomparable=if_incomparable)
        assert not made.verdict.promoted
        assert models.pointer().name is None
        assert models.versions() == [made.version]
        first, floor, anyway = made.verdict.reasons
        assert first == "No version is promoted yet."
        assert floor == (
            "Mean error: 120.0%, must be below 16.7%, the error of estimating the median training price (145,200) for "
            "every house."
        )
        assert anyway.startswith("The version is stored. To use it anyway, promote it by name, or train with")

    def test_first_version_of_few_sales_is_stored_only(self) -> None:
        models = InMemoryModels()
        made = training(models=models)(ListedSales("/sales.csv", sales=table(60)), OPTIONS, ignore)
        held_out = len(made.sales.held_out)
        assert held_out < 20
        assert models.pointer().name is None
        floor = f"Only {held_out} held-out sales; promoting a version without a champion requires at least 20."
        assert floor in made.verdict.reasons

    def test_policy_always_overrides_floors(self) -> None:
        models = InMemoryModels()
        made = self.trained(models, per_area=500, champion=0, policy=PromotionPolicy.ALWAYS)
        assert models.pointer().name == made.version.name

    @pytest.mark.parametrize(("challenger", "champion", "promoted"), [(1100, 900, True), (900, 1100, False)])
    def test_better_version_is_promoted_and_both_are_stored(
        self, challenger: float, champion: float, promoted: bool
    ) -> None:
        models = InMemoryModels()
        champion_of(models)
        made = self.trained(models, per_area=challenger, champion=champion)
        assert made.verdict.promoted is promoted
        assert made.verdict.comparison is not None
        assert made.verdict.comparison.champion == "champion"
        assert made.verdict.comparison.sales == len(made.sales.held_out)
        assert models.pointer().name == (made.version.name if promoted else "champion")
        assert len(models.versions()) == 2

    @pytest.mark.parametrize(("policy", "challenger"), [(PromotionPolicy.ALWAYS, 500), (PromotionPolicy.NEVER, 1100)])
    def test_explicit_policy_skips_comparison(self, policy: PromotionPolicy, challenger: float) -> None:
        models = InMemoryModels()
        champion_of(models)
        made = self.trained(models, per_area=challenger, champion=900, policy=policy)
        assert made.verdict.promoted is (policy is PromotionPolicy.ALWAYS)
        assert (models.pointer().name == made.version.name) is made.verdict.promoted
        assert policy in made.verdict.reasons[0]

    def test_policy_never_applies_to_first_version(self) -> None:
        models = InMemoryModels()
        self.trained(models, per_area=1100, champion=0, policy=PromotionPolicy.NEVER)
        assert models.pointer().name is None

    @pytest.mark.parametrize(("per_area", "promoted"), [(1000, True), (500, False)])
    def test_synthetic_champion_is_replaced_above_floors(self, per_area: float, promoted: bool) -> None:
        models = InMemoryModels()
        champion_of(models, source=TrainingSource(None, "0" * 64))
        made = self.trained(models, per_area=per_area, champion=1100, if_incomparable=False)
        assert made.verdict.promoted is promoted
        assert models.pointer().name == (made.version.name if promoted else "champion")
        assert "synthetic" in made.verdict.reasons[0]

    @pytest.mark.parametrize(
        ("per_area", "if_incomparable", "promoted"), [(1000, True, True), (1000, False, False), (500, True, False)]
    )
    @pytest.mark.parametrize(
        ("changes", "location", "reason"),
        [
            ({"schema": FeatureSchema((Feature("area", Kind.NUMBER),))}, "/sales.csv", "different features"),
            ({"schema": FeatureSchema((Feature("size", Kind.NUMBER, maximum=1),))}, "/sales.csv", "any of the held"),
            ({}, None, "synthetic ones"),
        ],
        ids=["other features", "no common house", "synthetic challenger"],
    )
    def test_incomparable_version_is_promoted_on_request_above_floors(
        self,
        changes: dict[str, Any],
        location: str | None,
        reason: str,
        per_area: float,
        if_incomparable: bool,
        promoted: bool,
    ) -> None:
        models = InMemoryModels()
        champion_of(models, **changes)
        made = self.trained(
            models, per_area=per_area, champion=1100, location=location, if_incomparable=if_incomparable
        )
        assert made.verdict.promoted is promoted
        assert models.pointer().name == (made.version.name if promoted else "champion")
        assert reason in made.verdict.reasons[0]

    @pytest.mark.parametrize(("per_area", "promoted"), [(1000, True), (500, False)])
    def test_unloadable_champion_counts_as_none(self, per_area: float, promoted: bool) -> None:
        def damaged(version: ModelVersion, artifact: Artifact) -> PricePerArea:
            if version.name == "champion":
                raise RefusedModel("it is damaged")
            return PricePerArea(version)

        models = InMemoryModels()
        champion_of(models)
        trainer = ListedTrainer(price=lambda house: per_area * float(house.values["size"]))
        made = training(models=models, load=damaged, trainer=trainer)(ListedSales("/sales.csv"), OPTIONS, ignore)
        assert made.verdict.promoted is promoted
        assert "champion can't be loaded" in made.verdict.reasons[0]
        assert "it is damaged" in made.verdict.reasons[0]

    def test_identical_retraining_is_not_promoted(self) -> None:
        models, clock = InMemoryModels(), FrozenClock()
        first = training(models=models)(ListedSales("/sales.csv"), OPTIONS, ignore).version
        clock.time += timedelta(hours=1)
        again = training(models=models, clock=clock).retrain(first, ignore)
        assert not again.verdict.promoted
        assert "Identical" in again.verdict.reasons[0]
        assert models.pointer().name == first.name
        assert models.versions() == [first, again.version]

    def test_retraining_keeps_incomparable_champion(self) -> None:
        models = InMemoryModels()
        older, _ = sample_version("older")
        champion_of(models, schema=FeatureSchema((Feature("area", Kind.NUMBER),)))
        again = training(models=models).retrain(evolve(older, options=OPTIONS), ignore)
        assert not again.verdict.promoted
        assert models.pointer().name == "champion"


class TestPromote:
    def models(self, *names: str) -> InMemoryModels:
        models = InMemoryModels()
        for name in names:
            models.add(*sample_version(name))
        return models

    def test_promotions_can_be_rolled_back(self) -> None:
        models = self.models("a", "b", "c")
        promote = Promote(load, models)
        for name in "abc":
            assert promote(name).name == models.pointer().name == name
        for name in "ba":
            assert promote.rollback().name == models.pointer().name == name
        with pytest.raises(UnknownModel, match="no other version was promoted before"):
            promote.rollback()
        assert models.pointer().name == "a"

    def test_rollback_without_promotion_is_an_error(self) -> None:
        with pytest.raises(UnknownModel, match="no other version was promoted before"):
            Promote(load, self.models("a")).rollback()

    def test_failed_promotion_leaves_pointer(self) -> None:
        models = self.models("a", "b", "c")
        for name in "ab":
            models.promote(name)
        with pytest.raises(RefusedModel):
            Promote(refuse, models)("c")
        with pytest.raises(RefusedModel):
            Promote(refuse, models).rollback()
        with pytest.raises(UnknownModel):
            Promote(load, models)("z")
        assert list(models.history()) == ["b", "a"]
