"""Files with torn writes, at each byte, opened with the product's adapters."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from campaign import torn_kinds, torn_models, torn_services, torn_sqlite
from campaign.tears import Places
from campaign.trials import Attack, Trial

_MEMORY = Path("/dev/shm")
"""If it exists, files are torn in memory: a thousand of them are written and flushed per second."""


def run(trial: Trial) -> None:
    """Tear files of one kind at each byte, or files of several kinds at a sample of positions."""
    kinds = list(_KINDS.values())
    chosen = [kinds[trial.number]] if trial.units == 1 else kinds
    places = Places(trial.random, every=trial.units == 1)
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else trial.folder) as folder, _log_of(trial):
        for number, kind in enumerate(chosen):
            subfolder = Path(folder, str(number))
            subfolder.mkdir()
            kind(trial, subfolder, places)


@contextmanager
def _log_of(trial: Trial) -> Iterator[None]:
    """Write the log of the product to a file of the trial: the last one to two MiB."""
    handler = RotatingFileHandler(trial.folder / "log", maxBytes=2**20, backupCount=1)
    logger = logging.getLogger("housepredict")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


_Tear = Callable[[Trial, Path, Places], None]


def _sqlite(kind: torn_kinds.Kind) -> _Tear:
    return lambda trial, folder, places: torn_sqlite.tear(trial, kind, folder, places)


def _documents(trial: Trial, folder: Path, places: Places) -> None:
    torn_models.tear_pointer(trial, folder / "pointer", places)
    torn_models.tear_records(trial, folder, places)
    torn_models.tear_reserve(trial, folder, places)


_KINDS: Mapping[str, _Tear] = {
    "predictions": _sqlite(torn_kinds.Predictions()),
    "spool": _sqlite(torn_kinds.Spool()),
    "sales": _sqlite(torn_kinds.Sales()),
    "keys": _sqlite(torn_kinds.Keys()),
    "versions": torn_models.tear_version,
    "documents": _documents,
    "services": torn_services.start,
}

ATTACK = Attack(
    name="torn",
    title="Files torn at each byte: SQLite's logs, documents of model versions",
    unit="kinds of files",
    full=len(_KINDS),
    quick=len(_KINDS),
    each=1,
    must_hold="acknowledged records stay; damaged files are refused with a reason; the rest works",
    run=run,
)
