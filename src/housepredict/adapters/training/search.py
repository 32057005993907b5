"""The search for the best candidate by cross-validation, with all sales of a house in one fold."""

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
from housepredict.adapters.training.candidates import Candidate, TrainingTable, fit_trees, start
from housepredict.adapters.training.target_encoding import with_target_encoding
from housepredict.domain.ports import Progress


@contextmanager
def results_of(tasks: Iterable[Any], jobs: int, **options: Any) -> Iterator[Iterator[Any]]:
    """Run tasks that joblib's `delayed` made. Yields their results in order; leaving the context cancels the rest."""
    parallel = Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None, **options)
    # the tracker unblocks signals when it starts, so it has to start first
    resource_tracker.ensure_running()
    # the processes inherit the mask: a terminal sends Ctrl-C to them as well, even while they import
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
_MAX_COMPARED = 40_000
"""More sales than this don't make the comparison of candidates more certain."""

_Task = tuple[Candidate, int, str | None]
"""A candidate, a fold whose sales to estimate, and one of its losses if it has any."""
_Estimates = dict[tuple[Candidate, str | None, int], NDArray[np.float64]]
"""Cross-validated logarithms of prices by candidate, one of its losses if it has any, and number of trees."""


@frozen(eq=False)
class SearchResult:
    """The best candidate of those `compared`, and its cross-validated estimates.

    `rows` are the sales of the table that were compared, and `log_prices`, of the same shape, the logarithms of their
    estimates, by fits that lacked them. Multiplied by `error_scale`, the errors of these are those of a model of all
    sales (see `calibration.error_scale_of`).
    """

    compared: int
    candidate: Candidate
    score: float
    rows: NDArray[np.int64]
    log_prices: NDArray[np.float64]
    error_scale: float = 1.0


def folds_of(house_keys: Sequence[str]) -> NDArray[np.int64]:
    """The fold of each sale: all sales of a house are in one, and the folds have equally many houses, give or take one.

    With fewer houses than folds, each sale counts as a house.
    """
    houses = sorted(set(house_keys), key=lambda key: hashlib.sha256(f"search {key}".encode()).digest())
    if len(houses) < FOLDS:
        return np.arange(len(house_keys)) % FOLDS
    places = {house: place % FOLDS for place, house in enumerate(houses)}
    return np.array([places[key] for key in house_keys])


def sampled_rows(count: int) -> NDArray[np.int64]:
    """The positions of the sales that candidates are compared on, out of `count`."""
    return np.arange(count)[:: -(-count // _MAX_COMPARED)]


def score_of(errors: NDArray[np.float64]) -> float:
    """Half the mean and half the median of absolute errors of logarithms of prices: of unusual and of usual houses."""
    off = np.abs(errors)
    return float((off.mean() + np.median(off)) / 2)


def search(
    candidates: Sequence[Candidate],
    table: TrainingTable,
    folds: NDArray[np.int64],
    seed: int,
    progress: Progress,
    is_over: Callable[[], bool] | None = None,
    jobs: int = -1,
) -> SearchResult:
    """Compare candidates, simplest first, and all variants that the same fits evaluate; the simpler one wins a tie.

    Once `is_over` returns True, which is asked before each fit, only the fits of the first candidate are completed.
    """
    rows = sampled_rows(len(table))
    table, folds = table.rows(rows), folds[rows]
    tasks = _tasks(candidates)
    # the slowest first, so that no core is left alone with one at the end, unless a limit may end the search before
    order = sorted(tasks, key=lambda task: task[0].leaves * task[0].iterations, reverse=is_over is None)
    started = takewhile(lambda task: task[0] == candidates[0] or not (is_over and is_over()), order)
    estimates: _Estimates = {}
    done = 0
    fits = (delayed(_estimate_fold)(*task, table, folds, seed) for task in started)
    with results_of(fits, jobs, pre_dispatch="n_jobs") as results:
        # there are fewer results than tasks if the search was over
        for task, log_prices_of in zip(order, results, strict=False):
            done += 1
            _add(estimates, task, log_prices_of, folds)
            progress(done, len(tasks))
    if done < len(tasks):
        progress(done, done)  # there will be no more
    unfinished = {candidate for candidate, *_ in order[done:]}
    compared = [candidate for candidate in candidates if candidate not in unfinished]
    best: SearchResult | None = None
    for candidate in compared:
        for variant in candidate.variants():
            log_prices = _weighted(variant, candidate, estimates)
            score = score_of(log_prices - table.log_prices)
            if best is None or score < best.score:
                best = SearchResult(len(compared), variant, score, rows, log_prices)
    if best is None:
        raise ValueError("there must be a candidate to choose")
    if not needs_error_scale(len(table)):
        return best
    # the same estimates by fits that lack the next fold as well
    tasks = _tasks([best.candidate])
    of_less: _Estimates = {}
    with results_of((delayed(_estimate_fold)(*task, table, folds, seed, 2) for task in tasks), jobs) as results:
        for task, log_prices_of in zip(tasks, results, strict=True):
            _add(of_less, task, log_prices_of, folds)
    less = _weighted(best.candidate, best.candidate, of_less)
    return evolve(best, error_scale=error_scale_of(best.log_prices - table.log_prices, less - table.log_prices))


def _tasks(candidates: Sequence[Candidate]) -> list[_Task]:
    return [
        (candidate, fold, loss)
        for candidate in candidates
        for fold in range(FOLDS)
        for loss in (candidate.losses or (None,))
    ]


def _add(
    estimates: _Estimates, task: _Task, log_prices_of: dict[int, NDArray[np.float64]], folds: NDArray[np.int64]
) -> None:
    candidate, fold, loss = task
    for trees, log_prices in log_prices_of.items():
        estimates.setdefault((candidate, loss, trees), np.empty(len(folds)))[folds == fold] = log_prices


def left_out(folds: NDArray[np.int64], fold: int, count: int) -> NDArray[np.bool_]:
    """A mask of the sales that a fit for the estimates of a fold lacks: `count` folds from this one on."""
    return (folds - fold) % FOLDS < count


def _estimate_fold(
    candidate: Candidate,
    fold: int,
    loss: str | None,
    table: TrainingTable,
    folds: NDArray[np.int64],
    seed: int,
    count: int = 1,
) -> dict[int, NDArray[np.float64]]:
    """Logarithms of prices of a fold's sales, by each number of trees among the variants, from a fit that lacks `count`
    folds.
    """
    training = ~left_out(folds, fold, count)
    others = with_target_encoding(table.rows(training), folds[training])
    own = table.rows(folds == fold).with_columns(others.columns)
    line, base, residuals = start(candidate, others)
    on = line.predict(own.for_lines) if line else np.full(len(own), base)
    if loss is None:
        return {0: on}
    estimator: Any = fit_trees(candidate, others, residuals, loss, seed)
    counts = {variant.iterations for variant in candidate.variants()}
    staged = enumerate(estimator.staged_predict(own.for_trees), 1)
    return {trees: on + predicted for trees, predicted in staged if trees in counts}


def _weighted(variant: Candidate, candidate: Candidate, estimates: _Estimates) -> NDArray[np.float64]:
    """The estimates of a variant of a candidate."""
    trees = variant.iterations
    if not trees:
        return estimates[candidate, None, 0]
    parts = [variant.weight(loss) * estimates[candidate, loss, trees] for loss in variant.losses]
    return np.asarray(np.sum(parts, axis=0))
