"""A search ended by its time limit, and a refit of a candidate on other sales."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from attrs import evolve

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.loader import valuation
from housepredict.adapters.training.candidates import Candidate
from housepredict.adapters.training.refit import refit
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.evaluation.held_out import coverage, valued
from housepredict.domain.ports import TrainedModel
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, TrainingOptions
from tests.factories import MIXED, sample_sales

LINE = Candidate(on_a_line=True)
FEW, MANY = (Candidate(on_a_line=on_a_line, leaves=4, iterations=16) for on_a_line in (False, True))
CANDIDATES = [LINE, FEW, MANY]
SALES = sample_sales(MIXED, 150)


def fit(
    candidates: Sequence[Candidate] = CANDIDATES,
    time_limit: float | None = None,
    sales: Sequence[Sale] = SALES,
    steps: list[tuple[int, int]] | None = None,
    algorithm: Algorithm = Algorithm.AUTO,
) -> TrainedModel:
    """Fit with a clock that advances a second per reading. It is read at the start and before each fit of trees."""
    trainer = SklearnTrainer(lambda *_: candidates, count().__next__)
    options = TrainingOptions(algorithm=algorithm, time_limit=time_limit)
    return trainer.fit(MIXED, sales, options, lambda *step: None if steps is None else steps.append(step))


@pytest.mark.parametrize(
    ("limit", "compared", "fits"), [(1, 1, 5), (10, 1, 14), (11, 2, 15), (20, 2, 24)], ids="{} s".format
)
def test_time_limit_drops_candidates_not_compared(limit: float, compared: int, fits: int) -> None:
    """The line needs five fits, which always complete. Each tree candidate needs ten fits, checked one by one."""
    steps: list[tuple[int, int]] = []
    ended = fit(time_limit=limit, steps=steps)
    assert ended.artifact == fit(CANDIDATES[:compared]).artifact
    assert ended.irreproducible == (
        f"the time limit of {limit} s ended the search with {compared} of 3 candidates compared"
    )
    assert steps[-1] == (fits, fits)


def test_unreached_time_limit_changes_nothing() -> None:
    limited, unlimited = fit(time_limit=21), fit()
    assert limited.artifact == unlimited.artifact
    assert limited.calibration == unlimited.calibration
    assert (limited.irreproducible, unlimited.irreproducible) == (None, None)


def test_linear_model_ignores_time_limit() -> None:
    assert fit(time_limit=1e-9, algorithm=Algorithm.LINEAR).irreproducible is None


@pytest.mark.parametrize("algorithm", [Algorithm.LINEAR, Algorithm.RIDGE, Algorithm.BOOSTING])
def test_refit_uses_only_the_given_sales(algorithm: Algorithm) -> None:
    """A model that saw the tenfold prices would estimate more. Only the error scale may depend on them."""
    candidate = LINE if algorithm is Algorithm.RIDGE else MANY
    dear = [evolve(sale, price=10 * sale.price) for sale in SALES]
    others = sample_sales(MIXED, 600, seed=3)
    houses = [sale.house for sale in SALES]
    first, second = (fit([candidate], sales=sales, algorithm=algorithm).refit(others) for sales in (SALES, dear))
    assert first.predict(houses) == second.predict(houses)
    assert first.calibration
    assert second.calibration
    assert first.calibration.within_tenths == pytest.approx(second.calibration.within_tenths)


def test_refit_calibrates_on_held_out_folds() -> None:
    """So many trees memorize their training sales."""
    deep = Candidate(on_a_line=True, leaves=31, iterations=320)
    form, calibration = refit(MIXED, sample_sales(MIXED, 1000, seed=3), deep, seed=1, scaled=True, error_scale=1.0)
    test_sales = sample_sales(MIXED, 500, seed=4)
    estimates = valuation(form, Encoder(MIXED)([sale.house for sale in test_sales]))
    held = coverage(valued(test_sales, estimates, calibration), 90)
    assert held
    assert 80 <= held.share <= 97
