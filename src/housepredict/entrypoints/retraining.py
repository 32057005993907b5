"""The sales to train on, and what recorded sales are added to."""

from __future__ import annotations

from pathlib import Path

from housepredict.domain.models import TrainingOptions
from housepredict.domain.ports import SalesSource
from housepredict.entrypoints.bootstrap import Application


def sales_to_train_on(
    application: Application, location: str | None, options: TrainingOptions, *, with_recorded: bool
) -> tuple[SalesSource, TrainingOptions]:
    """The sales at a location, with those recorded if asked for, and the options to train with; see below."""
    if with_recorded:
        location, options = _retraining_source(application, location, options)
    return application.sales_source(location, options, with_recorded), options


def _retraining_source(
    application: Application, location: str | None, options: TrainingOptions
) -> tuple[str | None, TrainingOptions]:
    """The file that was named, and the options. Without a name it is the file of the promoted version, if it has one
    that is here, with its options if none are given; or no file.

    Raises RefusedModel, UnknownModel or ModelStoreUnavailable if the promoted version cannot be read.
    """
    name = application.models.pointer().name
    if location is not None or name is None:
        return location, options
    promoted, _ = application.models.get(name)
    file = promoted.source.location
    if file is None or not Path(file).is_file():
        return None, options
    return file, promoted.options if options == TrainingOptions() else options
