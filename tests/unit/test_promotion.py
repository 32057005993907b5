"""The promotion rule: comparison of challenger and champion, guards and floors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.domain.estimates import Interval
from housepredict.domain.evaluation.held_out import Valued, measure, valued
from housepredict.domain.evaluation.measures import Accuracy
from housepredict.domain.evaluation.promotion import compare, incomparable, is_same, judge, judge_without_champion
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import Comparison, ModelVersion, Performance, TrainingSource, Verdict
from housepredict.domain.ports import Valuation
from housepredict.domain.sales import Sale
from housepredict.testing.drawing import sample_version

MEASURES = Accuracy(100, 1.0, 8.0, 30.0, 60.0, 90.0, 1.0, 1.0, 1.0, 0.9, 15.0, 10.0, 1.0, 0.0)
SOUND = Performance(error=0.1, accuracy=MEASURES, coverage=90.0, refused=0.0)
VERSION, _ = sample_version("champion")


def performance(**changes: Any) -> Performance:
    measures = {name: changes.pop(name) for name in ("cod", "prd", "prb") if name in changes}
    return evolve(SOUND, accuracy=evolve(MEASURES, **measures), **changes)


def comparison(challenger: Performance = SOUND, incumbent: Performance = SOUND, better: float = 99.0) -> Comparison:
    return Comparison("champion", 100, better, challenger, incumbent)


_MAYBE = st.none() | st.floats(-100, 200)
performances = st.builds(
    performance,
    error=st.floats(0, 2),
    cod=_MAYBE,
    prd=st.none() | st.floats(0.5, 1.5),
    prb=st.none() | st.floats(-1, 1),
    coverage=st.none() | st.floats(0, 100),
    refused=st.floats(0, 100),
)
comparisons = st.builds(comparison, performances, performances, st.floats(0, 100))


GUARDS: Mapping[str, tuple[float, float, int]] = {
    "cod": (5, 15, 1),
    "prd": (0.98, 1.03, 3),
    "prb": (-0.05, 0.05, 3),
    "coverage": (85, 95, 1),
}
"""The acceptable range of each guarded measure, and the digits that are compared."""


def is_worse(name: str, challenger: Performance, incumbent: Performance) -> bool:
    """Return whether the challenger is further outside the range than the incumbent."""
    low, high, digits = GUARDS[name]

    def distance(performance: Performance) -> float:
        value = performance.coverage if name == "coverage" else getattr(performance.accuracy, name)
        if value is None:
            return 0.0 if name == "coverage" else math.inf
        return round(max(low - round(value, digits), round(value, digits) - high, 0.0), digits)

    undefined = name != "coverage" and getattr(challenger.accuracy, name) is None
    return not undefined and distance(challenger) > distance(incumbent)


@given(comparisons)
def test_verdict_promotes_unless_a_rule_is_broken(pair: Comparison) -> None:
    verdict = judge(pair)
    assert verdict.comparison == pair
    assert verdict.reasons
    assert all(reason[0].isupper() and reason.endswith(".") for reason in verdict.reasons)
    assert all("champion" in reason for reason in verdict.reasons)
    assert verdict.promoted is all(
        (
            pair.better >= 95,
            pair.challenger.refused <= pair.incumbent.refused,
            *(not is_worse(name, pair.challenger, pair.incumbent) for name in GUARDS),
        )
    )


@given(performances, st.floats(95, 100))
def test_more_accurate_challenger_is_promoted(each: Performance, better: float) -> None:
    assert judge(comparison(each, each, better)).promoted


@given(comparisons.filter(lambda each: each.better < 95))
def test_insignificant_improvement_is_not_promoted(pair: Comparison) -> None:
    verdict = judge(pair)
    assert not verdict.promoted
    assert f"{pair.better:.1f}% of the resamples" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("challenger", "incumbent", "reasons"),
    [
        ({"cod": 15.1}, {"cod": 15.0}, ["COD: 15.1, against 15.0 for champion; must be 5 to 15, or no worse."]),
        ({"cod": 15.0}, {"cod": 5.0}, []),
        ({"cod": 16.0}, {"cod": 17.0}, []),
        ({"cod": 3.0}, {"cod": 8.0}, ["COD: 3.0, against 8.0 for champion; must be 5 to 15, or no worse."]),
        ({"prd": 1.031}, {}, ["PRD: 1.031, against 1.000 for champion; must be 0.98 to 1.03, or no worse."]),
        ({"prd": 0.97}, {}, ["PRD: 0.970, against 1.000 for champion; must be 0.98 to 1.03, or no worse."]),
        ({"prd": 1.04}, {"prd": 0.96}, []),
        (
            {"prb": -0.06},
            {"prb": 0.055},
            ["Absolute PRB: 0.060, against 0.055 for champion; must be 0 to 0.05, or no worse."],
        ),
        ({"prb": -0.06}, {"prb": 0.07}, []),
        (
            {"coverage": 84.0},
            {"coverage": None},
            ["Coverage of the 90% intervals: 84.0, against not defined for champion; must be 85 to 95, or no worse."],
        ),
        ({"coverage": 96.0}, {"coverage": 99.0}, []),
        ({"cod": 15.04}, {}, []),
        ({"cod": 20.04}, {"cod": 20.01}, []),
        ({"cod": 20.0}, {"cod": None}, []),
        ({"cod": None}, {}, []),
        ({"coverage": None}, {}, []),
        (
            {"refused": 2.0},
            {"refused": 1.0},
            ["Held-out houses not estimated: 2.0%, against 1.0% for champion."],
        ),
        ({"refused": 1.0}, {"refused": 1.0}, []),
        ({"cod": 20.0, "prd": 1.2}, {}, [
            "COD: 20.0, against 10.0 for champion; must be 5 to 15, or no worse.",
            "PRD: 1.200, against 1.000 for champion; must be 0.98 to 1.03, or no worse.",
        ]),
    ],
)  # fmt: skip
def test_guard_fails_if_out_of_range_and_worse(
    challenger: dict[str, float], incumbent: dict[str, float], reasons: list[str]
) -> None:
    verdict = judge(comparison(performance(**challenger), performance(**incumbent)))
    assert verdict.promoted is (not reasons)
    if reasons:
        assert list(verdict.reasons) == reasons


@frozen
class PerArea:
    """A predictor with a constant price per area."""

    per_area: float
    version: ModelVersion = VERSION

    def predict(self, houses: Sequence[House]) -> Valuation:
        return Valuation([self.per_area * float(house.values["size"]) for house in houses])


def sales(number: int = 60) -> list[Sale]:
    """Return sales at 1,000 per area, plus or minus 10%."""
    factor = (0.9, 1.0, 1.1)
    return [Sale(House({"size": 100 + row}), 1000.0 * (100 + row) * factor[row % 3], str(row)) for row in range(number)]


def beside(per_area: float, champion: PerArea, pair: Sequence[Sale]) -> Comparison | None:
    houses = [each.house for each in pair]
    return compare(valued(pair, PerArea(per_area).predict(houses), None), champion, pair)


@settings(max_examples=20, deadline=None)
@given(st.floats(300, 3000), st.floats(300, 3000))
def test_outcomeis_symmetric(one: float, other: float) -> None:
    forth, back = beside(one, PerArea(other), sales()), beside(other, PerArea(one), sales())
    assert forth is not None
    assert back is not None
    assert (forth.challenger, forth.incumbent) == (back.incumbent, back.challenger)
    assert forth.sales == 60
    assert forth.better + back.better <= 100.0001
    assert not (judge(forth).promoted and judge(back).promoted)


def test_better_model_is_promoted_and_equal_one_is_not() -> None:
    better, same = beside(1000, PerArea(700), sales()), beside(1000, PerArea(1000), sales())
    assert better is not None
    assert same is not None
    assert judge(better).promoted
    assert not judge(same).promoted
    assert same.better == 0


def test_outcomeuses_sales_both_versions_estimate() -> None:
    closed = FeatureSchema((Feature("size", Kind.NUMBER, maximum=129),))
    outcome = beside(1000, PerArea(700, evolve(VERSION, schema=closed)), sales())
    assert outcome is not None
    assert outcome.sales == outcome.challenger.accuracy.n == outcome.incumbent.accuracy.n == 30
    assert (outcome.challenger.refused, outcome.incumbent.refused) == (0.0, 50.0)


@pytest.mark.parametrize("champion", [
    PerArea(1000, evolve(VERSION, schema=FeatureSchema((Feature("area", Kind.NUMBER),)))),
    PerArea(1000, evolve(VERSION, schema=FeatureSchema((Feature("size", Kind.CATEGORY, categories=("big",)),)))),
    PerArea(1000, evolve(VERSION, schema=FeatureSchema((Feature("size", Kind.NUMBER, maximum=1),)))),
    PerArea(float("nan")),
])  # fmt: skip
def test_champion_without_estimates_is_not_compared(champion: PerArea) -> None:
    if champion.version.schema.features[0].kind is Kind.CATEGORY:
        odd = [evolve(each, house=House({"size": float(each.house.values["size"]) + 0.5})) for each in sales()]
        assert beside(1000, champion, odd) is None
    else:
        assert beside(1000, champion, sales()) is None


def test_negative_estimate_has_finite_error() -> None:
    outcome = beside(1000, PerArea(-1), sales())
    assert outcome is not None
    assert 10 < outcome.incumbent.error < 30
    assert judge(outcome).promoted


def test_versions_are_same_if_options_sales_and_files_match() -> None:
    other = evolve(VERSION, name="other")
    assert is_same(VERSION, other)
    assert not is_same(VERSION, evolve(other, options=evolve(other.options, seed=1)))
    assert not is_same(VERSION, evolve(other, source=TrainingSource("/sales.csv", "1" * 64)))
    assert not is_same(VERSION, evolve(other, digests={"model.bin": "1" * 64}))


def test_versions_are_comparable_with_same_features_and_source_kind() -> None:
    synthetic = evolve(VERSION, source=TrainingSource(None, "0" * 64))
    other = evolve(VERSION, schema=FeatureSchema((*VERSION.schema.features, Feature("zip", Kind.CATEGORY))))
    assert incomparable(VERSION, VERSION) is incomparable(synthetic, synthetic) is None
    assert "different features" in (incomparable(other, VERSION) or "")
    assert "real" in (incomparable(synthetic, VERSION) or "")


def with_intervals(inside: Mapping[int, int]) -> list[Valued]:
    """Return 100 estimates, with `inside[level]` intervals of each level that cover the price."""
    return [
        Valued(
            sale, 1000.0 * (100 + row), tuple(_interval(level, sale, row < count) for level, count in inside.items())
        )
        for row, sale in enumerate(sales(100))
    ]


def _interval(level: int, sale: Sale, holds: bool) -> Interval:
    low, high = (0.9, 1.1) if holds else (1.1, 1.2)
    return Interval(level, low * sale.price, high * sale.price)


@pytest.mark.parametrize(("inside", "guarded"), [(84, True), (85, False), (95, False), (96, True)])
def test_coverage_guard_uses_90_percent_intervals(inside: int, guarded: bool) -> None:
    champion = PerArea(700)
    rows = with_intervals({80: 50, 90: inside, 91: 50})
    outcome = compare(rows, champion, [row.sale for row in rows])
    assert outcome is not None
    assert outcome.challenger.coverage == inside
    assert judge(outcome).promoted is not guarded


TRAINING = sales()
WELL = valued(TRAINING, PerArea(1000).predict([sale.house for sale in TRAINING]), None)


def alone(rows: Sequence[Valued] = WELL, **changes: Any) -> Verdict:
    return judge_without_champion("Why.", evolve(measure(rows), **changes), rows, TRAINING)


def test_version_above_floors_is_promoted_without_champion() -> None:
    assert alone() == Verdict(promoted=True, reasons=("Why.",))


@pytest.mark.parametrize(
    ("changes", "floor"),
    [
        ({"n": 19}, "Only 19 held-out sales; promoting a version without a champion requires at least 20."),
        ({"n": 1}, "Only 1 held-out sale; promoting a version without a champion requires at least 20."),
        ({"n": 20}, None),
        ({"cod": 100.0}, "COD: 100.0, must be below 100."),
        ({"cod": 239_429.73}, "COD: 239,429.7, must be below 100."),
        ({"cod": None}, "COD: not defined, must be below 100."),
        ({"cod": 99.9}, None),
        ({"mse": math.inf, "r2": math.nan}, "Some measures are not finite: mse, r2."),
        ({"r2": None, "prd": None, "prb": None}, None),
    ],
)
def test_version_below_floor_is_not_promoted_without_champion(changes: dict[str, Any], floor: str | None) -> None:
    verdict = alone(**changes)
    assert verdict.promoted is (floor is None)
    assert verdict.reasons[1:-1] == (() if floor is None else (floor,))


def test_version_below_several_floors_names_all() -> None:
    assert len(alone(n=3, cod=math.inf, mse=math.nan).reasons) == 1 + 3 + 1


@given(st.floats(0.1, 10))
def test_version_must_beat_median_price(factor: float) -> None:
    rows = valued(TRAINING, PerArea(1000 * factor).predict([sale.house for sale in TRAINING]), None)
    middle = median(sale.price for sale in TRAINING)
    constant_error = fmean(abs(math.log(middle / sale.price)) for sale in TRAINING)
    model_error = fmean(abs(math.log(row.estimate / row.sale.price)) for row in rows)
    assert alone(rows, cod=10.0).promoted is (model_error < constant_error)


def test_median_price_does_not_beat_itself() -> None:
    middle = median(sale.price for sale in TRAINING)
    verdict = alone([evolve(row, estimate=middle) for row in WELL])
    assert not verdict.promoted
    assert verdict.reasons[1].endswith(
        "must be below 14.3%, the error of estimating the median training price (128,350) for every house."
    )


@given(st.floats(50_000, 500_000))
def test_constant_estimate_is_not_promoted_without_champion(price: float) -> None:
    rows = [evolve(row, estimate=price) for row in WELL]
    assert not alone(rows, cod=10.0).promoted
