"""The search for the candidate that does best on sales that were kept from it, all sales of a house together."""

from __future__ import annotations

import hashlib
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from multiprocessing import resource_tracker
from typing import Any

import numpy as np
from attrs import evolve, frozen
from joblib import Parallel, delayed
from numpy.typing import NDArray

from housepredict.adapters.training.calibration import error_scale_of, needs_error_scale
from housepredict.adapters.training.candidates import ABSOLUTE, SQUARED, Candidate, Table, fit_trees, start
from housepredict.adapters.training.target_encoding import with_levels
from housepredict.domain.ports import Progress


@contextmanager
def results_of(tasks: Iterable[Any], jobs: int, **options: Any) -> Iterator[Iterator[Any]]:
    """The results of tasks that joblib's `delayed` made, in their order. No task goes on once the context is left."""
    parallel = Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None, **options)
    # which unblocks signals once it has started
    resource_tracker.ensure_running()
    # the processes inherit what is blocked: a terminal sends Ctrl-C to them as well, while they import, for instance
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        results = parallel(tasks)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the tasks that are cancelled
            results.close()


FOLDS = 5
_ENOUGH = 40_000
"""More sales than this tell candidates no better apart."""

_Kept = tuple[Candidate, str | None, int]
"""A candidate, one of its losses if it has any, and a number of trees."""
_Task = tuple[Candidate, int, str | None]
"""A candidate, a fold whose sales to estimate, and one of its losses if it has any."""


@frozen(eq=False)
class Found:
    """The best candidate, of so many `compared`, and what it says of the sales that each of its fits was kept from:
    `known` are the rows of the table, `log_prices` the logarithms of its prices for them. Multiplied by `error_scale`,
    how far these are off is how far a model of all sales will be (see `spread.error_scale_of`).
    """

    compared: int
    candidate: Candidate
    score: float
    known: NDArray[np.int64]
    log_prices: NDArray[np.float64]
    error_scale: float = 1.0


def folds_of(house_keys: Sequence[str]) -> NDArray[np.int64]:
    """The fold of each sale: all sales of a house are in one, and folds have as many houses, give or take one.

    With fewer houses than folds each sale counts as a house.
    """
    houses = sorted(set(house_keys), key=lambda key: hashlib.sha256(f"search {key}".encode()).digest())
    if len(houses) < FOLDS:
        return np.arange(len(house_keys)) % FOLDS
    places = {house: place % FOLDS for place, house in enumerate(houses)}
    return np.array([places[key] for key in house_keys])


def enough_of(count: int) -> NDArray[np.int64]:
    """Which of so many sales are looked at to tell how far candidates are off."""
    return np.arange(count)[:: -(-count // _ENOUGH)]


def score_of(errors: NDArray[np.float64]) -> float:
    """How far logarithms of prices are off: the mean and the median alike, one for the spread and one for the usual."""
    off = np.abs(errors)
    return float((off.mean() + np.median(off)) / 2)


def search(
    candidates: Sequence[Candidate],
    table: Table,
    folds: NDArray[np.int64],
    seed: int,
    progress: Progress,
    is_over: Callable[[], bool] | None = None,
    jobs: int = -1,
) -> Found:
    """Compare candidates, simplest first, and all variants that their fits bring along; the simpler one wins a tie.

    `is_over` is asked before each fit: from then on no other is begun but those of the first candidate.
    """
    known = enough_of(len(table))
    table, folds = table.rows(known), folds[known]
    tasks = _tasks(candidates)
    # heavy ones first, so that no core is left with one in the end, unless that end may never come
    order = sorted(tasks, key=lambda task: task[0].leaves * task[0].iterations, reverse=is_over is None)
    begun = takewhile(lambda task: task[0] == candidates[0] or not (is_over and is_over()), order)
    kept: dict[_Kept, NDArray[np.float64]] = {}
    done = 0
    fits = (delayed(_kept_out)(*task, table, folds, seed) for task in begun)
    with results_of(fits, jobs, pre_dispatch="n_jobs") as results:
        # fewer results than tasks if it was over
        for task, predicted in zip(order, results, strict=False):
            done += 1
            _note(kept, task, predicted, folds)
            progress(done, len(tasks))
    if done < len(tasks):
        progress(done, done)  # there will be no more
    unfinished = {candidate for candidate, *_ in order[done:]}
    compared = [candidate for candidate in candidates if candidate not in unfinished]
    best: Found | None = None
    for candidate in compared:
        for variant in candidate.variants():
            log_prices = _mixed(variant, candidate, kept)
            score = score_of(log_prices - table.log_prices)
            if best is None or score < best.score:
                best = Found(len(compared), variant, score, known, log_prices)
    if best is None:
        raise ValueError("there must be a candidate to choose")
    if not needs_error_scale(len(table)):
        return best
    less = _without_two_folds(best.candidate, table, folds, seed, jobs)
    return evolve(best, error_scale=error_scale_of(best.log_prices - table.log_prices, less - table.log_prices))


def _without_two_folds(
    candidate: Candidate, table: Table, folds: NDArray[np.int64], seed: int, jobs: int
) -> NDArray[np.float64]:
    """Logarithms of prices for the sales of each fold, by fits that lack the next fold as well."""
    tasks = _tasks([candidate])
    kept: dict[_Kept, NDArray[np.float64]] = {}
    with results_of((delayed(_kept_out)(*task, table, folds, seed, 2) for task in tasks), jobs) as results:
        for task, predicted in zip(tasks, results, strict=True):
            _note(kept, task, predicted, folds)
    return _mixed(candidate, candidate, kept)


def _tasks(candidates: Sequence[Candidate]) -> list[_Task]:
    return [
        (candidate, fold, loss)
        for candidate in candidates
        for fold in range(FOLDS)
        for loss in (candidate.losses or (None,))
    ]


def _note(
    kept: dict[_Kept, NDArray[np.float64]],
    task: _Task,
    predicted: dict[int, NDArray[np.float64]],
    folds: NDArray[np.int64],
) -> None:
    candidate, fold, loss = task
    for trees, values in predicted.items():
        kept.setdefault((candidate, loss, trees), np.empty(len(folds)))[folds == fold] = values


def lacking(folds: NDArray[np.int64], fold: int, count: int) -> NDArray[np.bool_]:
    """Which sales a fit lacks that is to estimate those of a fold: those of as many folds, this one first."""
    return (folds - fold) % FOLDS < count


def _kept_out(
    candidate: Candidate, fold: int, loss: str | None, table: Table, folds: NDArray[np.int64], seed: int, count: int = 1
) -> dict[int, NDArray[np.float64]]:
    """Logarithms of prices of a fold's sales, by each number of trees among the variants, by fits that lack so many
    folds.
    """
    known = ~lacking(folds, fold, count)
    others = with_levels(table.rows(known), folds[known])
    own = table.rows(folds == fold).seen_by(others.columns)
    line, base, left = start(candidate, others)
    on = line.predict(own.for_lines) if line else np.full(len(own), base)
    if loss is None:
        return {0: on}
    estimator: Any = fit_trees(candidate, others, left, loss, seed)
    counts = {variant.iterations for variant in candidate.variants()}
    staged = enumerate(estimator.staged_predict(own.for_trees), 1)
    return {trees: on + predicted for trees, predicted in staged if trees in counts}


def _mixed(variant: Candidate, candidate: Candidate, kept: dict[_Kept, NDArray[np.float64]]) -> NDArray[np.float64]:
    trees = variant.iterations
    if not trees:
        return kept[candidate, None, 0]
    weights = {SQUARED: 1 - variant.share, ABSOLUTE: variant.share}
    log_prices: NDArray[np.float64] = np.sum(
        [weights[loss] * kept[candidate, loss, trees] for loss in variant.losses], axis=0
    )
    return log_prices
