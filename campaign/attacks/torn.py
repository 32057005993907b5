"""Files that were torn while they were written, each at every byte, and opened with the product's own adapters."""

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
"""Where it is, files are torn in memory: a thousand of them are written and flushed each second."""


def run(trial: Trial) -> None:
    """Tear the files of one kind at every byte; those of several kinds at some of them."""
    kinds = list(_KINDS.values())
    chosen = [kinds[trial.number]] if trial.units == 1 else kinds
    places = Places(trial.random, every=trial.units == 1)
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else trial.folder) as folder, _log_of(trial):
        for number, kind in enumerate(chosen):
            own = Path(folder, str(number))
            own.mkdir()
            kind(trial, own, places)


@contextmanager
def _log_of(trial: Trial) -> Iterator[None]:
    """What the product logs meanwhile, the last mebibyte or two of it, is in a file of the trial."""
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
    title="Files torn at every byte: SQLite's logs, and each document of the folder of model versions",
    unit="kinds of files",
    full=len(_KINDS),
    quick=len(_KINDS),
    each=1,
    must_hold="what was acknowledged is there; what is damaged is refused in words, and the rest goes on",
    run=run,
)
