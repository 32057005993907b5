"""Intervals reach nominal coverage for every number of sales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from io import BytesIO

import joblib
import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.loader import (
    ESTIMATOR_FILE,
    EXPLANATION_FILE,
    SERVING_FILE,
    load_predictor,
    unpack,
)
from housepredict.adapters.training.calibration import (
    calibrate,
    enough_for_spread,
    error_scale_of,
    fit_calibration,
    needs_error_scale,
)
from housepredict.adapters.training.candidates import Candidate, TrainingTable, fit_candidate
from housepredict.adapters.training.refit import encoded, refit, table_of
from housepredict.adapters.training.search import FOLDS, search
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.evaluation.coverage import IntervalKind, check_coverage
from housepredict.domain.evaluation.held_out import Valued, valued
from housepredict.domain.models import digests_of
from housepredict.domain.ports import CalibratedModel, TrainedModel
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, TrainingOptions
from tests.factories import TUTORIAL, a_log_form, sample_version, scattered_sales

HELD_OUT = 500


@cache
def residuals(seed: int) -> tuple[TrainingTable, NDArray[np.float64]]:
    """Return 3,500 sales, and log estimates that are exact except for the random scatter."""
    sales = scattered_sales(3500, seed)
    prices = np.array([sale.price for sale in sales])
    table = table_of(TUTORIAL, Encoder(TUTORIAL)([sale.house for sale in sales]), prices, 0.0)
    return table, np.log([200 * float(sale.house.values["size"]) for sale in sales])


def fit_and_check_coverage(
    folds: NDArray[np.int64], seed: int, *, scaled: bool | None = None
) -> tuple[bool, list[NDArray[np.bool_]]]:
    """Calibrate on the first `len(folds)` residuals.

    Returns:
        Whether spread trees were fitted, and for each available interval (80% and 90%), the held-out prices it covers.
    """
    table, log_prices = residuals(seed)
    count = len(folds)
    trees, calibration = fit_calibration(
        table.rows(np.arange(count)),
        log_prices[:count],
        folds,
        seed,
        scaled=enough_for_spread(folds) if scaled is None else scaled,
    )
    rest = np.arange(len(table) - HELD_OUT, len(table))
    columns = np.column_stack([table.rows(rest).for_trees, log_prices[rest]])
    spreads = trees.predict(columns) if trees else np.ones(len(rest))
    scores = np.abs(table.log_prices[rest] - log_prices[rest]) / spreads
    levels = (calibration.within_80, calibration.within_90)
    return bool(trees), [scores <= within for within in levels if within is not None]


def tolerated(level: float, calibrated_on: int, draws: int) -> float:
    """Return four standard deviations of the mean coverage over `draws` independent calibrations."""
    variance = level * (1 - level)
    return 4 * math.sqrt(variance * (1 / calibrated_on + 1 / HELD_OUT) / draws)


SIZES = [60, 99, 100, 150, 250, 320, 399, 400, 401, 420, 450, 480, 498, 499, 500, 501, 625, 1000, 3000]


@pytest.mark.parametrize("size", SIZES)
def test_coverage_is_nominal_for_every_number_of_sales(size: int) -> None:
    seeds = range(2)
    drawn = [fit_and_check_coverage(np.arange(size) % FOLDS, seed) for seed in seeds]
    assert {scaled for scaled, _ in drawn} == {size >= 500}
    for place, level in enumerate((0.8, 0.9)):
        shares = [covered[place].mean() for _, covered in drawn if len(covered) > place]
        assert len(shares) == (len(seeds) if size * (1 - level) >= 9.99 else 0)
        if shares:
            assert np.mean(shares) == pytest.approx(level, abs=tolerated(level, size, len(seeds)))


@pytest.mark.parametrize("size", [50, 99, 100, 250, 480])
def test_coverage_is_nominal_with_spread_trees_below_threshold(size: int) -> None:
    drawn = [fit_and_check_coverage(np.arange(size) % FOLDS, seed, scaled=True)[1] for seed in range(2)]
    for place, level in enumerate((0.8, 0.9)):
        shares = [covered[place].mean() for covered in drawn if len(covered) > place]
        if shares:
            assert np.mean(shares) == pytest.approx(level, abs=tolerated(level, size, len(drawn)))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], False),
        ([1], False),
        ([10_000], False),
        ([400, 400], True),
        ([399, 10_000], False),
        ([400, 10_000], True),
        ([100, 100, 100, 100], False),
        ([100, 100, 100, 100, 100], True),
        ([99, 100, 100, 100, 100], False),
        ([80, 80, 80, 80, 4000], False),
    ],
    ids=str,
)
def test_spread_trees_need_enough_sales_without_the_largest_fold(sizes: list[int], expected: bool) -> None:
    folds = np.repeat(np.arange(len(sizes)), sizes)
    assert enough_for_spread(folds) is expected


@pytest.mark.parametrize("sizes", [[60, 60, 60, 60, 1500], [700], [450, 200]], ids=str)
@pytest.mark.parametrize("scaled", [None, True])
def test_coverage_is_nominal_with_uneven_folds(sizes: list[int], scaled: bool | None) -> None:
    drawn = [
        fit_and_check_coverage(np.repeat(np.arange(len(sizes)), sizes), seed, scaled=scaled)[1] for seed in range(2)
    ]
    for place, level in enumerate((0.8, 0.9)):
        shares = [covered[place].mean() for covered in drawn]
        # spread trees fitted on unequal folds differ slightly from those that serve
        assert np.mean(shares) == pytest.approx(level, abs=0.02 + tolerated(level, sum(sizes), len(drawn)))


def fit(sales: Sequence[Sale], algorithm: Algorithm = Algorithm.AUTO) -> TrainedModel:
    options, few_trees = TrainingOptions(algorithm=algorithm), Candidate(on_a_line=True, leaves=4, iterations=16)
    return SklearnTrainer(lambda *_: [few_trees], jobs=1).fit(TUTORIAL, sales, options, lambda *_: None)


def estimated(sales: Sequence[Sale], model: CalibratedModel) -> Sequence[Valued]:
    return valued(sales, model.predict([sale.house for sale in sales]), model.calibration)


def has_spread_trees(fitted: TrainedModel) -> bool:
    return bool(getattr(unpack(fitted.artifact[SERVING_FILE], fitted.algorithm), "spread", None))


def require_coverage(rows: Sequence[Valued]) -> None:
    tests = check_coverage(IntervalKind.SCALED, [(row.sale.price, row.intervals) for row in rows])
    assert [each.level for each in tests] == [80, 90]
    assert not [each for each in tests if each.rejects]


def test_plain_intervals_share_the_model_without_spread_trees() -> None:
    sales, test_sales = scattered_sales(600, 21), scattered_sales(200, 22)
    fitted = fit(sales)
    assert fitted.with_plain_intervals
    plain = fitted.with_plain_intervals()
    assert plain.with_plain_intervals is None
    assert not has_spread_trees(plain)
    assert joblib.load(BytesIO(plain.artifact[ESTIMATOR_FILE]))["spread"] is None
    assert plain.artifact[EXPLANATION_FILE] == fitted.artifact[EXPLANATION_FILE]
    houses = [sale.house for sale in test_sales]
    assert plain.predict(houses).prices == fitted.predict(houses).prices
    rows = estimated(test_sales, plain)
    assert {row.spread for row in rows} == {1.0}
    require_coverage(rows)
    widths = {round(row.intervals[0].high / row.estimate, 6) for row in rows}
    assert len(widths) == 1
    # a version with these intervals can be loaded, and a refit on earlier sales keeps the kind of interval
    version = evolve(
        sample_version(a_log_form())[0], schema=TUTORIAL, algorithm=plain.algorithm, digests=digests_of(plain.artifact)
    )
    assert load_predictor(version, plain.artifact).predict(houses) == plain.predict(houses)
    earlier = scattered_sales(1000, 23)
    assert {row.spread for row in estimated(test_sales, plain.refit(earlier))} == {1.0}
    assert len({row.spread for row in estimated(test_sales, fitted.refit(earlier))}) > 1


def test_linear_model_has_no_plain_intervals() -> None:
    assert fit(scattered_sales(600, 21), Algorithm.LINEAR).with_plain_intervals is None


def test_nonpositive_estimates_count_as_outside_every_interval() -> None:
    errors = np.array([0.1] * 80 + [-0.2] * 15 + [np.inf] * 5)
    calibration = calibrate(errors, np.ones(100))
    assert (calibration.within_80, calibration.within_90) == (0.2, 0.2)
    assert math.isfinite(calibration.deviation)
    assert calibrate(np.where(errors < 0, np.inf, errors), np.ones(100)).within_90 == math.inf


@given(
    errors=st.lists(st.floats(-3, 3), min_size=50, max_size=300),
    floor=st.floats(0.05, 10),
    slope=st.floats(0, 1),
    lost=st.integers(0, 20),
)
def test_error_scale_extrapolates_to_all_sales(errors: list[float], floor: float, slope: float, lost: int) -> None:
    def of(share: float) -> NDArray[np.float64]:
        """Return the errors of fits to this share of the sales. The first `lost` errors are infinite."""
        scaled = (np.array(errors) + 4) * (floor + slope * floor / share)
        scaled[:lost] = np.inf
        return scaled

    expected = (1 + slope) / (1 + slope / 0.8)
    assert error_scale_of(of(4 / 5), of(3 / 5)) == pytest.approx(expected)


@pytest.mark.parametrize("more", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("less", [0.0, 0.1, 100.0, math.inf])
def test_error_scale_stays_near_one_for_uninformative_errors(more: float, less: float) -> None:
    assert 0.8 <= error_scale_of(np.full(60, more), np.full(60, less)) <= 1.1


def test_error_scale_is_one_for_single_finite_error() -> None:
    errors = np.array([0.1, *[math.inf] * 59])
    assert error_scale_of(errors, errors * 2) == 1


@pytest.mark.parametrize("seed", [31, 32, 33])
@pytest.mark.parametrize(
    "candidate", [Candidate(on_a_line=True), Candidate(on_a_line=True, leaves=8, iterations=32)], ids=str
)
def test_calibration_scales_errors_of_few_sales(candidate: Candidate, seed: int) -> None:
    sales = scattered_sales(200, seed)
    matrix, prices, folds = encoded(TUTORIAL, sales)
    table = table_of(TUTORIAL, matrix, prices, 0.0)
    result = search([candidate], table, folds, 1, lambda *_: None, jobs=1)
    less = np.empty(len(table))
    for fold in range(FOLDS):
        known = (folds != fold) & (folds != (fold + 1) % FOLDS)
        model = fit_candidate(result.candidate, table.rows(known), 1)
        less[folds == fold] = model.predict(table.columns, table.values[folds == fold])
    errors = table.log_prices - result.log_prices
    assert result.error_scale == pytest.approx(error_scale_of(errors, table.log_prices - less))
    fitted = SklearnTrainer(lambda *_: [candidate], jobs=1).fit(
        TUTORIAL, sales, TrainingOptions(seed=1), lambda *_: None
    )
    assert fitted.calibration == calibrate(errors * result.error_scale, np.ones(len(errors)))
    # the out-of-time evaluation scales its intervals the same way
    _, unscaled = refit(TUTORIAL, sales, result.candidate, 1, scaled=False, error_scale=1.0)
    latest = fitted.refit(sales).calibration
    assert latest
    assert latest.deviation == pytest.approx(unscaled.deviation * result.error_scale)


def test_calibration_does_not_scale_errors_of_many_sales() -> None:
    assert [needs_error_scale(count) for count in (49, 50, 1999, 2000)] == [False, True, True, False]
    table = residuals(1)[0].rows(np.arange(2000))
    result = search([Candidate(on_a_line=True)], table, np.arange(2000) % FOLDS, 1, lambda *_: None, jobs=1)
    assert result.error_scale == 1
