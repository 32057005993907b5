"""How a spool is emptied: oldest first, in batches, and what is refused for good is set aside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from housepredict.adapters.sqlite_spool import SqliteSpool
from housepredict.domain.errors import RefusedPredictions
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import PredictionRepository

_log = logging.getLogger(__name__)

_BATCH = 500


def empty(
    spool: SqliteSpool,
    behind: PredictionRepository,
    taken: Callable[[], None],
    handing_over: AbstractContextManager[object],
) -> int:
    """Hand over all that waits, but not what others append meanwhile; report each batch that was taken. Each batch is
    handed over in the context `handing_over`.

    Returns the number of predictions. Raises RepositoryUnavailable.
    """
    moved = 0
    while True:
        with handing_over:
            batch = spool.oldest(_BATCH)
            if not batch:
                break
            _hand_over(spool, behind, batch, taken)
        moved += len(batch)
        if len(batch) < _BATCH:
            break
    return moved


def _hand_over(
    spool: SqliteSpool, behind: PredictionRepository, batch: Sequence[Prediction], taken: Callable[[], None]
) -> None:
    try:
        behind.append(batch)
    except RefusedPredictions as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            _hand_over(spool, behind, batch[:middle], taken)
            _hand_over(spool, behind, batch[middle:], taken)
            return
        taken()
        _log.error("prediction %s is set aside in the spool: %s", batch[0].id, error)
        spool.set_aside(batch[0], str(error))
    else:
        taken()  # before the spool is written: its faults are not those of the repository behind
        spool.remove(batch)
