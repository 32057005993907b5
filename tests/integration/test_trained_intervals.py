"""Trained intervals reach nominal coverage, even with just enough sales for spread trees."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from housepredict.adapters.training.candidates import Candidate, candidates
from housepredict.adapters.training.regressor import HousePriceRegressor
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.evaluation.held_out import Valued, coverages, valued
from housepredict.domain.ports import CalibratedModel, TrainedModel
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from tests.factories import TUTORIAL, scattered_sales

HELD_OUT = scattered_sales(400, 22)
AROUND = [390, 440, 490, 520]
"""Numbers of training sales around the threshold for spread trees."""


def line(_algorithm: Algorithm, _effort: Effort, _sales: int) -> list[Candidate]:
    return [Candidate(on_a_line=True)]


def fit(sales: Sequence[Sale], algorithm: Algorithm = Algorithm.RIDGE) -> TrainedModel:
    search_space = line if algorithm is Algorithm.RIDGE else candidates
    options = TrainingOptions(algorithm=algorithm, effort=Effort.LOW)
    return SklearnTrainer(search_space, jobs=1).fit(TUTORIAL, sales, options, lambda *_: None)


def tolerated(level: float, calibrated_on: int) -> float:
    """Return four standard deviations of the coverage of the held-out sales, including the calibration's variance."""
    return 4 * math.sqrt(level * (1 - level) * (1 / calibrated_on + 1 / len(HELD_OUT)))


def require_coverage(fitted: CalibratedModel, calibrated_on: int) -> Sequence[Valued]:
    rows = valued(HELD_OUT, fitted.predict([sale.house for sale in HELD_OUT]), fitted.calibration)
    assert [each.level for each in coverages(rows)] == [80, 90]
    for each in coverages(rows):
        assert each.share / 100 == pytest.approx(each.level / 100, abs=tolerated(each.level / 100, calibrated_on))
    return rows


@pytest.mark.parametrize("size", AROUND)
def test_intervals_hold_for_every_number_of_training_sales(size: int) -> None:
    rows = require_coverage(fit(scattered_sales(size, 21)), size)
    # from 500 sales on, intervals are scaled to the house
    assert (len({row.spread for row in rows}) > 1) is (size >= 500)


def test_intervals_of_default_candidates_hold_below_500_sales() -> None:
    require_coverage(fit(scattered_sales(450, 21), Algorithm.AUTO), 450)


@pytest.mark.parametrize("size", [2050, 2450])
def test_refit_intervals_hold_with_folds_of_400_to_500(size: int) -> None:
    earlier = scattered_sales(size, 23)
    for trained_on in (480, 700):
        fitted = fit(scattered_sales(trained_on, 21))
        rows = require_coverage(fitted.refit(earlier), size // 5)
        # scaled exactly if the version's own intervals are
        assert (len({row.spread for row in rows}) > 1) is (trained_on >= 500)


@pytest.mark.parametrize("size", AROUND)
def test_regressor_intervals_hold_for_every_number_of_sales(size: int) -> None:
    sales = scattered_sales(size, 21)
    houses, test_houses = ([list(sale.house.values.values()) for sale in each] for each in (sales, HELD_OUT))
    model = HousePriceRegressor(algorithm="ridge").fit(houses, [sale.price for sale in sales])
    prices = np.array([sale.price for sale in HELD_OUT])
    for level in (0.5, 0.8, 0.9):
        low, high = model.predict_interval(test_houses, level).T
        assert ((low <= prices) & (prices <= high)).mean() == pytest.approx(level, abs=tolerated(level, size))
