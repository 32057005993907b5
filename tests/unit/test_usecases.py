"""The use cases, over the in-memory adapters and doubles that fail, change and wait when told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.memory_models import InMemoryModels
from housepredict.domain.errors import (
    HousepredictError,
    InvalidHouses,
    ModelStoreUnavailable,
    NoModel,
    RefusedModel,
    RepositoryUnavailable,
    TrainingInProgress,
    UnknownModel,
    UnusableSales,
)
from housepredict.domain.estimates import MAX_PRICE, Prediction
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import Algorithm, Artefact, ModelVersion, TrainingOptions, TrainingSource
from housepredict.domain.ports import Fitted, Progress, Valuation
from housepredict.domain.promotion import PromotionPolicy
from housepredict.domain.sales import Sale, SalesTable
from housepredict.domain.usecases import DEMONSTRATION, SELF_TEST_ROWS, Predict, Promote, Train, Training
from housepredict.domain.validation import Rule
from housepredict.testing.versions import a_version

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
SCHEMA = FeatureSchema((Feature("size", Kind.NUMBER, observed=(50, 200)),))


@define
class FrozenClock:
    """Stands still until it is moved."""

    time: datetime = NOON

    def now(self) -> datetime:
        return self.time


@frozen
class PricePerArea:
    """Prices a house by its size alone."""

    version: ModelVersion
    per_area: float = 1000.0

    def predict(self, houses: Sequence[House]) -> Valuation:
        return Valuation([self.per_area * float(house.values["size"]) for house in houses])


def predictor(name: str = "one", *, location: str | None = "/sales.csv", per_area: float = 1000.0) -> PricePerArea:
    version, _ = a_version(name)
    return PricePerArea(evolve(version, schema=SCHEMA, source=TrainingSource(location, "0" * 64)), per_area)


@define
class Promoted:
    """Hands out one predictor after another, as if a version were promoted after each look."""

    _predictors: list[PricePerArea]

    def current(self) -> PricePerArea:
        if not self._predictors:
            raise NoModel
        return self._predictors.pop(0)

    def in_service(self) -> PricePerArea:
        return self._predictors[0]


@define
class FullPredictions(InMemoryPredictions):
    """A repository that records nothing."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        raise RepositoryUnavailable("the disk is full")


def predict(
    *predictors: PricePerArea,
    into: InMemoryPredictions | None = None,
    clock: FrozenClock | None = None,
    limit: int = 1000,
) -> Predict:
    return Predict(Promoted(list(predictors)), into or InMemoryPredictions(), clock or FrozenClock(), limit)


def violations(raised: pytest.ExceptionInfo[InvalidHouses]) -> list[tuple[str, Rule]]:
    return [(each.pointer, each.rule) for each in raised.value.violations]


class TestPredict:
    def test_predictions_come_in_order_and_are_recorded_when_they_return(self) -> None:
        recorded = InMemoryPredictions()
        given = predict(predictor(), into=recorded)([{"size": 100.005}, {"size": 60}])
        assert [each.price for each in given] == [100_005.0, 60_000.0]
        assert recorded.recent(10) == [*reversed(given)]
        assert [each.created_at for each in given] == [NOON, NOON]

    def test_an_estimate_tells_its_house_its_version_and_what_to_doubt(self) -> None:
        [given] = predict(predictor())([{"size": 500}])
        assert given.estimate.house == House({"size": 500})
        assert given.estimate.model_version == "one"
        assert given.estimate.valued_on is None
        assert [each.code for each in given.estimate.caveats] == ["outside_observed_range"]

    def test_what_was_not_recorded_is_not_returned(self) -> None:
        with pytest.raises(RepositoryUnavailable, match="full"):
            predict(predictor(), into=FullPredictions())([{"size": 100}])

    def test_a_batch_is_estimated_by_one_version_whatever_is_promoted_meanwhile(self) -> None:
        use_case = predict(predictor("one"), predictor("two", per_area=2000.0))
        for name, per_area in (("one", 1000), ("two", 2000)):
            given = use_case([{"size": 100}, {"size": 60}])
            assert [(each.estimate.model_version, each.price) for each in given] == [
                (name, 100.0 * per_area),
                (name, 60.0 * per_area),
            ]

    def test_later_predictions_have_higher_ids_though_the_clock_steps_back(self) -> None:
        clock = FrozenClock()
        use_case = predict(predictor(), predictor(), clock=clock)
        first = use_case([{"size": 100}] * 3)
        clock.time -= timedelta(hours=1)
        second = use_case([{"size": 100}] * 3)
        ids = [each.id for each in (*first, *second)]
        assert ids == sorted(set(ids))

    @pytest.mark.parametrize("location", ["/sales.csv", None])
    def test_a_model_of_made_up_sales_says_so_in_every_answer(self, location: str | None) -> None:
        [given] = predict(predictor(location=location))([{"size": 100}])
        assert given.estimate.caveats == (() if location else (DEMONSTRATION,))

    def test_without_a_model_there_is_no_estimate(self) -> None:
        with pytest.raises(NoModel, match="train one with"):
            predict()([{"size": 100}])

    def test_a_batch_over_the_limit_is_refused_whole_and_before_anything_else(self) -> None:
        recorded = InMemoryPredictions()
        with pytest.raises(InvalidHouses, match="at most 2 houses, not 3") as raised:
            predict(into=recorded, limit=2)([{"size": 100}] * 3)
        assert violations(raised) == [("", Rule.LIMIT)]
        assert len(predict(predictor(), into=recorded, limit=2)([{"size": 100}] * 2)) == 2
        assert len(recorded.recent(10)) == 2

    def test_an_empty_batch_is_refused(self) -> None:
        with pytest.raises(InvalidHouses) as raised:
            predict(predictor())([])
        assert violations(raised) == [("", Rule.EMPTY)]

    def test_one_bad_house_refuses_the_batch_and_is_pointed_at(self) -> None:
        recorded = InMemoryPredictions()
        with pytest.raises(InvalidHouses) as raised:
            predict(predictor(), into=recorded)([{"size": 100}, {"size": "big", "colour": "red"}])
        assert violations(raised) == [("/1/size", Rule.TYPE), ("/1/colour", Rule.UNKNOWN)]
        assert recorded.recent(10) == []

    @pytest.mark.parametrize("per_area", [MAX_PRICE, float("inf"), float("nan")])
    def test_a_house_that_the_model_has_no_price_for_is_a_violation(self, per_area: float) -> None:
        recorded = InMemoryPredictions()
        with pytest.raises(InvalidHouses, match="no price") as raised:
            predict(predictor(per_area=per_area), into=recorded)([{"size": 100}, {"size": 60}])
        assert violations(raised) == [("/0", Rule.EXTRAPOLATION), ("/1", Rule.EXTRAPOLATION)]
        assert recorded.recent(10) == []

    def test_a_price_is_never_negative(self) -> None:
        assert predict(predictor(per_area=-1.0)).one({"size": 100}).price == 0.0

    def test_a_lone_house_is_recorded_and_pointed_into_without_a_position(self) -> None:
        recorded = InMemoryPredictions()
        use_case = predict(predictor(), predictor(), predictor(per_area=MAX_PRICE), into=recorded)
        given = use_case.one({"size": 100})
        assert recorded.recent(10) == [given]
        for house, expected in (
            ({"a/b": 1}, [("/size", Rule.MISSING), ("/a~1b", Rule.UNKNOWN)]),
            ({"size": 100}, [("", Rule.EXTRAPOLATION)]),
        ):
            with pytest.raises(InvalidHouses) as raised:
                use_case.one(house)
            assert violations(raised) == expected

    def test_recent_predictions_are_the_repositorys(self) -> None:
        use_case = predict(predictor())
        given = use_case([{"size": 100}, {"size": 60}, {"size": 80}])
        assert use_case.recent(2) == [given[2], given[1]]
        assert use_case.recent(2, before=given[1].id) == [given[0]]


ROWS = 60
OPTIONS = TrainingOptions(price="price", house_id="house", seed=7)


def table() -> SalesTable:
    return SalesTable(
        {
            "house": [f"H{row}" for row in range(ROWS)],
            "size": [100 + row / 2 for row in range(ROWS)],
            "price": [1100 * (100 + row / 2) for row in range(ROWS)],
        },
        digest="d" * 64,
    )


@define
class ListedSales:
    """Sales at a location, which may be unreadable."""

    location: str | None
    fault: HousepredictError | None = None

    def read(self) -> SalesTable:
        if self.fault:
            raise self.fault
        return table()


@define
class ListedTrainer:
    """Fits a price per area, and notes what it was given; it fails or waits when told to."""

    fault: HousepredictError | None = None
    price: Callable[[House], float] = lambda house: 1000.0 * float(house.values["size"])
    waits_for: Event | None = None
    started: Event = field(factory=Event)
    seen: list[tuple[Sequence[Sale], Algorithm, int]] = field(factory=list)

    def fit(self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress) -> Fitted:
        self.started.set()
        if self.waits_for:
            assert self.waits_for.wait(10)
        if self.fault:
            raise self.fault
        progress(1, 1)
        self.seen.append((sales, options.algorithm, options.seed))
        return Fitted(
            {"model.bin": b"%d" % len(self.seen)},
            lambda houses: Valuation([self.price(each) for each in houses]),
            Algorithm.BOOSTING if options.algorithm is Algorithm.AUTO else options.algorithm,
            {"lib": "1.0"},
        )


def load(version: ModelVersion, _artefact: Artefact) -> PricePerArea:
    return PricePerArea(version)


def refuse(_version: ModelVersion, _artefact: Artefact) -> PricePerArea:
    raise RefusedModel


@define
class FaultyModels(InMemoryModels):
    """A model store that fails at one of its verbs."""

    fails_at: str = ""

    def add(self, version: ModelVersion, artefact: Artefact) -> None:
        if self.fails_at == "add":
            raise ModelStoreUnavailable
        super().add(version, artefact)

    def promote(self, name: str) -> None:
        if self.fails_at == "promote":
            raise ModelStoreUnavailable
        super().promote(name)


def training(**parts: Any) -> Train:
    usual: dict[str, Any] = {
        "trainer": ListedTrainer(),
        "load": load,
        "models": InMemoryModels(),
        "sources": ListedSales,
    }
    return Train(**(usual | {"clock": FrozenClock()} | parts))


def ignore(_done: int, _total: int) -> None:
    """No progress is shown."""


class TestTrain:
    def test_a_version_is_kept_and_promoted(self) -> None:
        models = InMemoryModels()
        made = training(models=models)(ListedSales("/sales.csv"), OPTIONS, ignore)
        assert models.promoted() == made.version.name
        assert models.get(made.version.name) == (made.version, {"model.bin": b"1"})
        assert made.version.name.startswith("20250601-120000-")

    def test_the_manifest_says_how_the_version_came_about(self) -> None:
        version = training()(ListedSales("/sales.csv"), OPTIONS, ignore).version
        assert version.created_at == NOON
        assert version.algorithm is Algorithm.BOOSTING
        assert version.options == OPTIONS
        assert version.source == TrainingSource("/sales.csv", "d" * 64)
        assert version.libraries == {"lib": "1.0"}
        assert [each.name for each in version.schema.features] == ["size"]
        assert version.valuation_date is None

    def test_it_is_evaluated_on_sales_that_it_has_not_learned_from(self) -> None:
        trainer = ListedTrainer()
        made = training(trainer=trainer)(ListedSales("/sales.csv"), OPTIONS, ignore)
        [(learned, _, seed)] = trainer.seen
        assert learned == made.sales.training
        assert seed == 7
        assert not {sale.house_key for sale in learned} & {sale.house_key for sale in made.sales.held_out}
        evaluation = made.version.evaluation
        assert (evaluation.trained_on, evaluation.held_out) == (len(learned), ROWS - len(learned))
        assert evaluation.accuracy.n == evaluation.held_out
        assert evaluation.accuracy.median_ratio == pytest.approx(1000 / 1100)

    def test_the_self_test_holds_the_models_own_prices_of_a_few_houses(self) -> None:
        made = training()(ListedSales("/sales.csv"), OPTIONS, ignore)
        assert [(each.house, each.price) for each in made.version.self_test] == [
            (sale.house, 1000.0 * float(sale.house.values["size"])) for sale in made.sales.held_out[:SELF_TEST_ROWS]
        ]

    @pytest.mark.parametrize(
        ("location", "asked", "expected"),
        [
            (None, Algorithm.AUTO, Algorithm.LINEAR),
            ("/sales.csv", Algorithm.AUTO, Algorithm.BOOSTING),
            (None, Algorithm.BOOSTING, Algorithm.BOOSTING),
            ("/sales.csv", Algorithm.LINEAR, Algorithm.LINEAR),
        ],
    )
    def test_the_algorithm_is_the_one_asked_for_or_follows_from_the_sales(
        self, location: str | None, asked: Algorithm, expected: Algorithm
    ) -> None:
        trainer = ListedTrainer()
        made = training(trainer=trainer)(ListedSales(location), evolve(OPTIONS, algorithm=asked), ignore)
        assert made.version.algorithm is expected
        assert made.version.source.synthetic is (location is None)

    def test_progress_is_told(self) -> None:
        steps: list[tuple[int, int]] = []
        training()(ListedSales("/sales.csv"), OPTIONS, lambda done, total: steps.append((done, total)))
        assert steps == [(1, 1)]

    @pytest.mark.parametrize(
        ("parts", "source", "error"),
        [
            ({"trainer": ListedTrainer(fault=RefusedModel("forms differ"))}, ListedSales("/x"), RefusedModel),
            ({"trainer": ListedTrainer(price=lambda _: float("nan"))}, ListedSales("/x"), RefusedModel),
            ({"trainer": ListedTrainer(price=lambda _: MAX_PRICE)}, ListedSales("/x"), RefusedModel),
            ({"load": refuse}, ListedSales("/x"), RefusedModel),
            ({}, ListedSales("/x", UnusableSales("gone")), UnusableSales),
            ({"models": FaultyModels(fails_at="add")}, ListedSales("/x"), ModelStoreUnavailable),
            ({"models": FaultyModels(fails_at="promote")}, ListedSales("/x"), ModelStoreUnavailable),
        ],
        ids=["trainer", "no price", "endless price", "loader", "source", "store", "pointer"],
    )
    def test_a_training_that_fails_leaves_the_pointer_and_lets_the_next_one_in(
        self, parts: dict[str, Any], source: ListedSales, error: type[HousepredictError]
    ) -> None:
        models = parts.get("models", InMemoryModels())
        version, artefact = a_version("champion")
        InMemoryModels.add(models, version, artefact)
        InMemoryModels.promote(models, "champion")
        train = training(**{"models": models, **parts})
        for _ in range(2):
            with pytest.raises(error):
                train(source, OPTIONS, ignore, PromotionPolicy.ALWAYS)
        assert models.promoted() == "champion"
        if "promote" not in getattr(models, "fails_at", ""):
            assert models.versions() == [version]

    def test_there_is_one_training_at_a_time(self) -> None:
        trainer = ListedTrainer(waits_for=Event())
        train = training(trainer=trainer)
        first = Thread(target=train, args=(ListedSales("/sales.csv"), OPTIONS, ignore))
        first.start()
        try:
            assert trainer.started.wait(10)
            with pytest.raises(TrainingInProgress, match="try again"):
                train(ListedSales("/sales.csv"), OPTIONS, ignore)
        finally:
            assert trainer.waits_for
            trainer.waits_for.set()
            first.join(10)
        assert train(ListedSales("/sales.csv"), OPTIONS, ignore).version.name

    def test_training_again_reads_the_same_sales_with_the_same_options(self) -> None:
        asked: list[str | None] = []

        def sources(location: str | None) -> ListedSales:
            asked.append(location)
            return ListedSales(location)

        train = training(sources=sources)
        first = train(ListedSales(None), evolve(OPTIONS, exclude=()), ignore).version
        again = train.again(first, ignore).version
        assert asked == [None]
        assert (again.source, again.options, again.algorithm) == (first.source, first.options, Algorithm.LINEAR)
        assert again.name != first.name


def champion_of(models: InMemoryModels, **changes: Any) -> ModelVersion:
    """A promoted version that knows the size of a house."""
    version, artefact = a_version("champion")
    version = evolve(version, **changes)
    models.add(version, artefact)
    models.promote(version.name)
    return version


@frozen
class LoadsAs:
    """Loads the champion as a model of its own, and whatever else as the trainer's."""

    champion: float

    def __call__(self, version: ModelVersion, _artefact: Artefact) -> PricePerArea:
        return PricePerArea(version, self.champion if version.name == "champion" else 1000.0)


class TestPromotionOfWhatWasTrained:
    """The listed prices are 1,100 an area; a perfect model has a COD of 0, no worse than the champion's."""

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
            load=LoadsAs(champion),
        )
        return train(ListedSales(location), OPTIONS, ignore, **how)

    def test_the_first_version_is_promoted_and_says_why(self) -> None:
        made = self.trained(InMemoryModels(), per_area=500, champion=0, location=None)
        assert made.verdict.promoted
        assert made.verdict.reasons == ("No version was promoted before.",)

    @pytest.mark.parametrize(("challenger", "champion", "promoted"), [(1100, 900, True), (900, 1100, False)])
    def test_the_better_of_two_versions_serves_and_both_are_kept(
        self, challenger: float, champion: float, promoted: bool
    ) -> None:
        models = InMemoryModels()
        champion_of(models)
        made = self.trained(models, per_area=challenger, champion=champion)
        assert made.verdict.promoted is promoted
        assert made.verdict.comparison is not None
        assert made.verdict.comparison.champion == "champion"
        assert made.verdict.comparison.sales == len(made.sales.held_out)
        assert models.promoted() == (made.version.name if promoted else "champion")
        assert len(models.versions()) == 2

    @pytest.mark.parametrize(("policy", "challenger"), [(PromotionPolicy.ALWAYS, 500), (PromotionPolicy.NEVER, 1100)])
    def test_what_somebody_decided_is_not_judged(self, policy: PromotionPolicy, challenger: float) -> None:
        models = InMemoryModels()
        champion_of(models)
        made = self.trained(models, per_area=challenger, champion=900, policy=policy)
        assert made.verdict.promoted is (policy is PromotionPolicy.ALWAYS)
        assert (models.promoted() == made.version.name) is made.verdict.promoted
        assert policy in made.verdict.reasons[0]

    def test_a_first_version_that_is_never_to_be_promoted_is_not(self) -> None:
        models = InMemoryModels()
        self.trained(models, per_area=1100, champion=0, policy=PromotionPolicy.NEVER)
        assert models.promoted() is None

    def test_a_demonstration_is_replaced_by_whatever_rests_on_real_sales(self) -> None:
        models = InMemoryModels()
        champion_of(models, source=TrainingSource(None, "0" * 64))
        made = self.trained(models, per_area=500, champion=1100, if_incomparable=False)
        assert made.verdict.promoted
        assert "synthetic" in made.verdict.reasons[0]

    @pytest.mark.parametrize("if_incomparable", [True, False])
    @pytest.mark.parametrize(
        ("changes", "location", "said"),
        [
            ({"schema": FeatureSchema((Feature("area", Kind.NUMBER),))}, "/sales.csv", "other features"),
            ({"schema": FeatureSchema((Feature("size", Kind.NUMBER, maximum=1),))}, "/sales.csv", "none of the held"),
            ({}, None, "Made-up sales"),
        ],
        ids=["other features", "no house", "synthetic challenger"],
    )
    def test_what_can_be_compared_on_nothing_is_promoted_if_that_was_said(
        self, changes: dict[str, Any], location: str | None, said: str, if_incomparable: bool
    ) -> None:
        models = InMemoryModels()
        champion_of(models, **changes)
        made = self.trained(models, per_area=500, champion=1100, location=location, if_incomparable=if_incomparable)
        assert made.verdict.promoted is if_incomparable
        assert said in made.verdict.reasons[0]

    def test_a_champion_that_cannot_be_loaded_counts_as_none(self) -> None:
        def damaged(version: ModelVersion, _artefact: Artefact) -> PricePerArea:
            if version.name == "champion":
                raise RefusedModel("it is damaged")
            return PricePerArea(version)

        models = InMemoryModels()
        champion_of(models)
        made = training(models=models, load=damaged)(ListedSales("/sales.csv"), OPTIONS, ignore)
        assert made.verdict.promoted
        assert "champion cannot be loaded" in made.verdict.reasons[0]
        assert "it is damaged" in made.verdict.reasons[0]

    def test_the_same_training_again_changes_nothing(self) -> None:
        models, clock = InMemoryModels(), FrozenClock()
        first = training(models=models)(ListedSales("/sales.csv"), OPTIONS, ignore).version
        clock.time += timedelta(hours=1)
        again = training(models=models, clock=clock).again(first, ignore)
        assert not again.verdict.promoted
        assert "identical" in again.verdict.reasons[0]
        assert models.promoted() == first.name
        assert models.versions() == [first, again.version]

    def test_training_again_leaves_a_champion_that_it_cannot_be_compared_with(self) -> None:
        models = InMemoryModels()
        older, _ = a_version("older")
        champion_of(models, schema=FeatureSchema((Feature("area", Kind.NUMBER),)))
        again = training(models=models).again(evolve(older, options=OPTIONS), ignore)
        assert not again.verdict.promoted
        assert models.promoted() == "champion"


class TestPromote:
    def models(self, *names: str) -> InMemoryModels:
        models = InMemoryModels()
        for name in names:
            models.add(*a_version(name))
        return models

    def test_a_version_that_loads_is_promoted_and_can_be_taken_back(self) -> None:
        models = self.models("a", "b", "c")
        promote = Promote(load, models)
        for name in "abc":
            assert promote(name).name == models.promoted() == name
        for name in "ba":
            assert promote.rollback().name == models.promoted() == name
        with pytest.raises(UnknownModel, match="nothing to go back to"):
            promote.rollback()
        assert models.promoted() == "a"

    def test_without_any_promotion_there_is_nothing_to_go_back_to(self) -> None:
        with pytest.raises(UnknownModel, match="nothing to go back to"):
            Promote(load, self.models("a")).rollback()

    def test_a_version_that_is_refused_or_unknown_leaves_the_pointer(self) -> None:
        models = self.models("a", "b", "c")
        for name in "ab":
            models.promote(name)
        for call in (lambda: Promote(refuse, models)("c"), Promote(refuse, models).rollback):
            with pytest.raises(RefusedModel):
                call()
        with pytest.raises(UnknownModel):
            Promote(load, models)("z")
        assert list(models.history()) == ["b", "a"]
