"""Fits in processes of joblib's, which an interrupt of this process ends without a word of their own."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from joblib import Parallel


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
