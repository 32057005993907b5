"""Search for the best candidate by cross-validation. All sales of a house are in the same fold."""

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
    """Run tasks in worker processes until the context exits. Unfinished tasks are then cancelled.

    Yields an iterator over the results, in the order of the tasks.

    Args:
        tasks: the tasks, created with joblib's `delayed`.
        jobs: the number of worker processes (-1: one per core).
        **options: further arguments of joblib's `Parallel`.
    """
    parallel = Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None, **options)
    # starting the tracker unblocks signals, so it has to start before they are blocked
    resource_tracker.ensure_running()
    # worker processes inherit this mask; without it, Ctrl-C in a terminal would interrupt them even during imports
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        results = parallel(tasks)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about cancelled tasks
            results.close()


FOLDS = 5
_MAX_COMPARED = 40_000
"""Maximum number of sales to compare candidates on. More sales don't make the choice more certain."""

_Task = tuple[Candidate, int, str | None]
"""A candidate, the fold to estimate, and the loss that the trees minimize (None if the candidate has no trees)."""
_Estimates = dict[tuple[Candidate, str | None, int], NDArray[np.float64]]
"""Out-of-fold log prices, of shape (sales,), by candidate, loss (None without trees) and number of trees per loss."""


@frozen(eq=False)
class SearchResult:
    """The best candidate, with its out-of-fold estimates.

    Attributes:
        compared: the number of candidates that were compared.
        candidate: the best candidate.
        score: the score of the best candidate (see `score_of`).
        rows: the positions, within the table, of the sales that candidates were compared on.
        log_prices: the logarithm of the out-of-fold estimate for each sale in `rows`.
        error_scale: the factor by which to multiply the errors of the out-of-fold estimates to get the errors of a
            model that is fitted to all sales (see `error_scale_of`).
    """

    compared: int
    candidate: Candidate
    score: float
    rows: NDArray[np.int64]
    log_prices: NDArray[np.float64]
    error_scale: float = 1.0


def folds_of(house_keys: Sequence[str]) -> NDArray[np.int64]:
    """Assign each sale to a fold. Returns the fold numbers, of shape (sales,).

    All sales of a house are in the same fold, and the numbers of houses per fold differ by at most one. If there are
    fewer houses than folds, each sale is treated as a separate house.
    """
    houses = sorted(set(house_keys), key=lambda key: hashlib.sha256(f"search {key}".encode()).digest())
    if len(houses) < FOLDS:
        return np.arange(len(house_keys)) % FOLDS
    folds = {house: position % FOLDS for position, house in enumerate(houses)}
    return np.array([folds[key] for key in house_keys])


def sampled_rows(count: int) -> NDArray[np.int64]:
    """Return the positions of the sales to compare candidates on: all sales, or an evenly spaced sample.

    `count` is the total number of sales.
    """
    return np.arange(count)[:: -(-count // _MAX_COMPARED)]


def score_of(errors: NDArray[np.float64]) -> float:
    """Return the average of the mean absolute error and the median absolute error.

    `errors` are the differences between estimated and actual log prices, of shape (sales,).
    """
    absolute = np.abs(errors)
    return float((absolute.mean() + np.median(absolute)) / 2)


def search(
    candidates: Sequence[Candidate],
    table: TrainingTable,
    folds: NDArray[np.int64],
    seed: int,
    progress: Progress,
    is_over: Callable[[], bool] | None = None,
    jobs: int = -1,
) -> SearchResult:
    """Find the best candidate by cross-validation. The variants of each candidate are compared, too.

    Args:
        candidates: the candidates, from simple to complex. If scores are equal, the simpler candidate wins.
        table: the sales.
        folds: the fold of each sale, of shape (sales,).
        seed: the random seed for the fits.
        progress: called with the number of completed fits and the total number of fits.
        is_over: a function, called before each fit, that returns whether the time limit is exceeded. Once it returns
            True, no more fits are started, except those of the first candidate.
        jobs: the number of worker processes (-1: one per core).

    Raises:
        ValueError: if there are no candidates.
    """
    rows = sampled_rows(len(table))
    table, folds = table.rows(rows), folds[rows]
    tasks = _tasks(candidates)
    # start the slowest fits first, so that all cores finish at about the same time, or with a limit the fastest ones
    order = sorted(tasks, key=lambda task: task[0].leaves * task[0].iterations, reverse=is_over is None)
    started = takewhile(lambda task: task[0] == candidates[0] or not (is_over and is_over()), order)
    estimates: _Estimates = {}
    done = 0
    fits = (delayed(_estimate_fold)(*task, table, folds, seed) for task in started)
    with results_of(fits, jobs, pre_dispatch="n_jobs") as results:
        # after a time limit, there may be fewer results than tasks
        for task, log_prices_by_trees in zip(order, results, strict=False):
            done += 1
            _add(estimates, task, log_prices_by_trees, folds)
            progress(done, len(tasks))
    if done < len(tasks):
        progress(done, done)  # no more fits follow
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
        raise ValueError("candidates must not be empty")
    if not needs_error_scale(len(table)):
        return best
    # estimate again with fits that leave out a second fold, to compare their errors
    tasks = _tasks([best.candidate])
    smaller_fits: _Estimates = {}
    with results_of((delayed(_estimate_fold)(*task, table, folds, seed, 2) for task in tasks), jobs) as results:
        for task, log_prices_by_trees in zip(tasks, results, strict=True):
            _add(smaller_fits, task, log_prices_by_trees, folds)
    log_prices = _weighted(best.candidate, best.candidate, smaller_fits)
    return evolve(best, error_scale=error_scale_of(best.log_prices - table.log_prices, log_prices - table.log_prices))


def _tasks(candidates: Sequence[Candidate]) -> list[_Task]:
    return [
        (candidate, fold, loss)
        for candidate in candidates
        for fold in range(FOLDS)
        for loss in (candidate.losses or (None,))
    ]


def _add(
    estimates: _Estimates, task: _Task, log_prices_by_trees: dict[int, NDArray[np.float64]], folds: NDArray[np.int64]
) -> None:
    candidate, fold, loss = task
    for trees, log_prices in log_prices_by_trees.items():
        estimates.setdefault((candidate, loss, trees), np.empty(len(folds)))[folds == fold] = log_prices


def left_out(folds: NDArray[np.int64], fold: int, count: int) -> NDArray[np.bool_]:
    """Return a mask, of shape (sales,), of the sales in `count` consecutive folds, starting with `fold`.

    `folds` is the fold of each sale. The last fold is followed by the first one.
    """
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
    """Fit a candidate without some folds, and estimate the log prices in one of the folds left out.

    Args:
        candidate: the candidate.
        fold: the fold to estimate. It is the first of the folds left out.
        loss: the loss that the trees minimize, or None if the candidate has no trees.
        table: the sales.
        folds: the fold of each sale, of shape (sales,).
        seed: the random seed.
        count: the number of consecutive folds to leave out.

    Returns:
        The estimated log prices of the sales in the fold, by number of trees. There is one item for each number of
        trees that the candidate or a variant has.
    """
    is_training = ~left_out(folds, fold, count)
    training = with_target_encoding(table.rows(is_training), folds[is_training])
    tested = table.rows(folds == fold).with_columns(training.columns)
    line, base, residuals = start(candidate, training)
    start_prices = line.predict(tested.for_lines) if line else np.full(len(tested), base)
    if loss is None:
        return {0: start_prices}
    estimator: Any = fit_trees(candidate, training, residuals, loss, seed)
    counts = {variant.iterations for variant in candidate.variants()}
    stages = enumerate(estimator.staged_predict(tested.for_trees), 1)
    return {trees: start_prices + residual for trees, residual in stages if trees in counts}


def _weighted(variant: Candidate, candidate: Candidate, estimates: _Estimates) -> NDArray[np.float64]:
    """Compute the estimates of a variant of a fitted candidate, of shape (sales,).

    The variant uses the trees of the candidate, but possibly fewer of them or with other weights of the two losses.
    """
    trees = variant.iterations
    if not trees:
        return estimates[candidate, None, 0]
    parts = [variant.weight(loss) * estimates[candidate, loss, trees] for loss in variant.losses]
    return np.asarray(np.sum(parts, axis=0))
