"""Old predictions are forgotten once a day, if the settings say how long they are kept."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from starlette.concurrency import run_in_threadpool

from housepredict.domain.errors import HousepredictError
from housepredict.entrypoints.composition import Application

_log = logging.getLogger(__name__)

_A_DAY, _AN_HOUR = 86_400.0, 3600.0  # seconds


async def prune_daily(application: Application) -> None:
    """Forget what is older than the settings' `keep`, now and once a day; after a fault an hour later. Every process
    does so: there is no harm in it, and nothing to agree on.
    """
    keep = application.settings.keep
    while keep is not None:
        pause = _A_DAY
        try:
            forgotten = await run_in_threadpool(application.records.prune, timedelta(days=keep))
        except HousepredictError as error:
            _log.warning("predictions older than %s days could not be forgotten: %s", keep, error)
            pause = _AN_HOUR
        else:
            if forgotten.predictions:
                _log.info("%s predictions older than %s days were forgotten", forgotten.predictions, keep)
        await asyncio.sleep(pause)
