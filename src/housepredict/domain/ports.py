"""Ports: protocols for everything that the domain needs from the outside world, such as storage and a clock.

Adapters implement the protocols without inheriting from them. All methods are synchronous. Methods accept batches where
speed matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from attrs import frozen

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import Calibration, Explanation, Prediction
from housepredict.domain.features import FeatureSchema, House
from housepredict.domain.idempotency import Delivery
from housepredict.domain.models import Artifact, ModelVersion, Pointer
from housepredict.domain.sales import RecordedSale, Sale, SalesTable
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.training_status import TrainingStatus


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """Return the current time as a time-zone-aware datetime in UTC."""


class PredictionRepository(Protocol):
    """A store of predictions. Every method raises RepositoryUnavailable if the store is currently unavailable."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch durably (all or nothing).

        Predictions whose ids are already stored, or were erased or pruned, are skipped.

        Raises:
            RepositoryUnavailable: if the batch was not stored. The caller may retry.
            RefusedPredictions: if the batch was not stored and retrying won't help.
        """

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """Return the newest predictions, newest first.

        Args:
            limit: the maximum number of predictions.
            before: an id. Only predictions with ids below it are returned. If None, there is no such limit.
        """

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """Return the predictions with these ids, sorted by id and without duplicates. Skips unknown ids.

        Raises:
            RepositoryUnavailable: if the repository can't be reached, or can't determine whether an id is stored.
        """

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """Return up to `limit` predictions with `first` <= id < `end`, oldest first.

        Raises:
            RepositoryUnavailable: also if some of the predictions can't be read.
        """

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase predictions durably (all or nothing).

        After this call, reads never return these predictions, and appends never store predictions with these ids, not
        even appends that are already in progress. This also applies to ids that were never stored.

        Returns:
            How many of the ids were stored before this call.

        Raises:
            RepositoryUnavailable: if the repository can't be reached, or can't guarantee that they stay erased.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers with ids below `before`.

        An erasure marker is the record that an id was erased. This method deletes markers, too, but the deleted ids
        must still never be stored again. Because ids sort by time, a repository can ensure this with a watermark: an id
        just above the newest deleted id. Appends skip all ids below the watermark. If the caller's clock is wrong,
        `before` may be far in the future. The watermark must not follow it there, because appends would then skip new
        predictions.

        Returns:
            The number of deleted predictions and markers.
        """

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Return the ids among `ids` that were erased or pruned, including erased ids that were never stored.

        Raises:
            RepositoryUnavailable: if the repository can't be reached, or can't tell for every id whether it was erased.
        """

    def check(self) -> None:
        """Raise RepositoryUnavailable if the repository can't currently store a batch."""


@runtime_checkable
class AppendsInLoop(Protocol):
    """A PredictionRepository that can also store batches from an event loop, without blocking the event loop."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        """Start storing a batch without waiting for it. Must be called in a running event loop.

        Args:
            predictions: the batch.
            done: the function that the event loop calls when the append has finished. Its argument is None on success.
                Otherwise, it is the error that `append` would have raised.

        Returns:
            Whether the append was started. If not, `done` is never called, and the caller should call `append` in a
            thread.
        """


@runtime_checkable
class HasLabIds(Protocol):
    """A PredictionRepository that can look up imported predictions by lab id.

    Predictions can be imported from the service that the tutorial builds. The lab id of an imported prediction is the
    integer id that it had in that service.
    """

    def find_by_lab_id(self, number: int) -> Prediction | None:
        """Return the imported prediction with this lab id, or None if there is none.

        Raises:
            RepositoryUnavailable: if the repository can't be read.
        """


RepositoryOpener = Callable[[str], AbstractContextManager[PredictionRepository]]
"""A plug-in function that takes a database URL and returns a context manager.

Entering the context manager opens and returns the repository, and leaving it closes the repository. Raises
RepositoryUnavailable if the repository can't be opened.
"""


@frozen
class Backlog:
    """The state of the predictions that are stored locally but not in the database.

    Attributes:
        pending: the number of predictions that are waiting to be sent to the database.
        oldest: the time of the oldest pending prediction, or None if there are no pending predictions.
        dead_letters: the number of predictions that the database has permanently rejected.
        reason: why the database currently accepts no predictions, or None if it accepts them.
    """

    pending: int
    oldest: datetime | None
    dead_letters: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return bool(self.pending or self.dead_letters or self.reason)


@runtime_checkable
class HasBacklog(Protocol):
    """A PredictionRepository that may store a batch locally first, and send it to a database later.

    Until then, other processes can't see the batch. Every method raises RepositoryUnavailable if the predictions can't
    be read or stored.
    """

    def backlog(self) -> Backlog:
        """Return the state of the predictions that have not reached the database."""

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        """Return the newest predictions (see PredictionRepository.recent), and the backlog when they were read.

        If the database can't be read, only local predictions are returned, and the backlog's `reason` says why. Both
        results come from one call, because the reason might have changed by the time of a separate call of `backlog`.
        """

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch directly in the database, so that every process can read it when this call returns.

        Use this method if another process may store other predictions with the same ids. The database then retains
        those that were stored first. If this method raises RepositoryUnavailable, the batch may have been stored
        anyway.
        """


class PredictionKeys(Protocol):
    """A store of idempotency keys and the prediction ids that are reserved for them.

    Ids are reserved before the predictions are stored, so a retried request stores its predictions with the same ids.
    Every method raises RepositoryUnavailable if the store is currently unavailable.
    """

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """Return the prediction ids reserved for a request, in order, or None if its key is unknown.

        Raises:
            RepeatedKey: if the key was used for a different request.
            ErasedPredictions: if a prediction with one of the ids is known to be erased.
        """

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Reserve `ids` (at least one) durably for a request, unless ids are already reserved for its key.

        Returns:
            The ids that are reserved for the key. They differ from `ids` if the key already had reserved ids.

        Raises:
            RepeatedKey: if the key was used for a different request.
            ErasedPredictions: if a prediction with one of the reserved ids is known to be erased.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest keys whose first reserved id is below `before`.

        Returns:
            The number of deleted keys.
        """


class SaleRepository(Protocol):
    """A store of recorded sales. Every method raises RepositoryUnavailable if the store is currently unavailable.

    A sale is corrected by recording another sale for the same prediction. The one with the largest id counts.
    """

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        """Store a batch of sales durably (all or nothing), unless the delivery's idempotency key was used before.

        Args:
            sales: the sales. Their ids must be new.
            delivery: the request that contains the sales, or None if it has no idempotency key.

        Returns:
            The stored batch, sorted by id. If the key was used before, this is the batch that was stored then.

        Raises:
            RepeatedKey: if the key was used for a different request.
        """

    def largest_id(self) -> UUID | None:
        """Return the largest id of all sales, or None if there are no sales."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        """Return recorded sales, sorted by sale date and id, latest first.

        If several sales were recorded for the same prediction, all except the one with the largest id are ignored.

        Args:
            since: the earliest sale date, or None if there is no limit.
            until: the latest sale date, or None if there is no limit.
            limit: the maximum number of sales, or None if there is no limit.
        """

    def erase(self, predictions: Sequence[UUID]) -> int:
        """Erase all sales of these predictions durably (all or nothing). Returns how many sales were erased.

        The sales' idempotency keys are retained so that a retried delivery doesn't store the sales again.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Erase up to `limit` sales whose prediction ids are below `before`. Returns how many were erased."""

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        """Return all sales recorded for a prediction, in order of their ids. The last one counts."""


@frozen
class Valuation:
    """A model's raw output for a batch of houses.

    Attributes:
        prices: the price of each house, before rounding and range checks.
        spreads: the expected error of each price (see Calibration), or None if the model doesn't estimate errors.
    """

    prices: Sequence[float]
    spreads: Sequence[float] | None = None


class Predictor(Protocol):
    """A model version that is loaded into memory and can estimate prices."""

    @property
    def version(self) -> ModelVersion:
        """The loaded model version."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Compute prices and spreads. The output for a house does not depend on the other houses in the batch."""


@frozen
class InService:
    """The predictor in service, which is the one that currently estimates houses.

    Attributes:
        predictor: the predictor, which contains the model version.
        generation: the generation number of the model version's promotion (see Pointer). None for the demo model, which
            is never promoted.
    """

    predictor: Predictor
    generation: int | None = None

    @property
    def version(self) -> ModelVersion:
        """The model version in service."""
        return self.predictor.version


class PredictorSource(Protocol):
    """A provider of the predictor in service. When another model version is promoted, the predictor changes.

    Every method raises NoModel if no version is promoted. If the promoted version could not be loaded, and there is no
    other predictor, every method raises the error that prevented loading.
    """

    def current(self) -> InService:
        """Return the predictor in service. If a check is due, first check the model store for a new promotion."""

    def in_service(self) -> InService:
        """Return the predictor in service as of the last check of the model store. Does no I/O."""


PredictorLoader = Callable[[ModelVersion, Artifact], Predictor]
"""A function that loads a model version for serving. Raises RefusedModel if the files don't match the manifest."""


class Explainer(Protocol):
    """An explainer for the estimates of one model version."""

    @property
    def version(self) -> ModelVersion:
        """The model version."""

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        """Return an explanation of the estimate for each house, in order."""


class ModelStore(Protocol):
    """A store of immutable model versions, with a pointer to the promoted version.

    Every method raises ModelStoreUnavailable if the store can't be read or written.
    """

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        """Store a version (all or nothing). If a version with this name exists, it is left unchanged.

        Raises:
            RefusedModel: if the files don't match the manifest (see models.verify).
        """

    def versions(self) -> Sequence[ModelVersion]:
        """Return all versions, oldest first. Skips damaged versions."""

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        """Return a version and its files.

        Raises:
            UnknownModel: if the version is not stored.
            RefusedModel: if the version is damaged.
        """

    def promote(self, name: str) -> None:
        """Move the pointer to a version, and add the version to the history. Does nothing if it is already promoted.

        Raises:
            UnknownModel: if the version is not stored. The pointer is not moved.
        """

    def rollback(self, name: str) -> None:
        """Move the pointer back to a version in the history, and remove later promotions from the history.

        Raises:
            UnknownModel: if the version is not in the history, or not stored. The pointer is not moved.
        """

    def history(self) -> Sequence[str]:
        """Return the names of promoted versions, latest promotion first. Includes at least the last 100 promotions."""

    def pointer(self) -> Pointer:
        """Return the pointer to the promoted version."""

    def training(self) -> AbstractContextManager[None]:
        """Return a context manager that holds the training lock. The lock is also released if the process exits.

        Raises:
            TrainingInProgress: if a process already holds the lock. The context manager doesn't wait for the lock.
        """


Progress = Callable[[int, int], None]
"""A callback that receives the number of completed steps and the total number of steps."""


def no_progress(_done: int, _total: int) -> None:
    """Do nothing. This is a Progress callback for callers that don't need progress."""


@frozen
class CalibratedModel:
    """A fitted model with the calibration of its intervals.

    Attributes:
        predict: the function that computes prices and spreads (see Predictor.predict).
        calibration: the calibration of the intervals, or None if the model has no intervals.
    """

    predict: Callable[[Sequence[House]], Valuation]
    calibration: Calibration | None


@frozen
class TrainedModel(CalibratedModel):
    """The best model that a model search found, fitted to the training sales.

    Attributes:
        artifact: the model's files.
        algorithm: the algorithm of the best candidate.
        libraries: the version of each library used for training, by library name.
        refit: a function that fits the best candidate to other sales with the same schema.
        irreproducible: why training again with the same sales and options may produce a different model, or None if
            the training is reproducible.
        with_plain_intervals: a function that gives the model plain intervals (see IntervalKind) instead, without
            fitting the model again, and returns the result. None if the model already has plain intervals.
    """

    artifact: Artifact
    algorithm: Algorithm
    libraries: Mapping[str, str]
    refit: Callable[[Sequence[Sale]], CalibratedModel]
    irreproducible: str | None = None
    with_plain_intervals: Callable[[], TrainedModel] | None = None


class Trainer(Protocol):
    """A component that trains models."""

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        """Search for the best model, and fit it to the training sales.

        Args:
            schema: the features.
            sales: the training sales.
            options: the training options. Only the algorithm, effort, seed and time limit are used.
            progress: the callback for the progress. It is called after each step.

        Raises:
            RefusedModel: if the model's serving form (the arrays that serve it) doesn't return the same prices as the
                fitted model.
        """


class SalesSource(Protocol):
    """A source of sales: a file, the recorded sales, or both."""

    @property
    def location(self) -> str | None:
        """The location of the file, or None if the source has no file."""

    @property
    def with_recorded(self) -> bool:
        """Whether the source includes the recorded sales."""

    def read(self) -> SalesTable:
        """Read all sales. Raises UnusableSales if there are no sales, or if they can't be read."""


SalesSources = Callable[[str | None, TrainingOptions, bool], SalesSource]
"""A function that creates a SalesSource, without reading any sales yet.

Its arguments are the file's location (None for no file), the training options, and whether to include recorded sales.
"""


class TrainingLog(Protocol):
    """A log of the status of training jobs, shared by all processes. It retains at least the newest 100 jobs.

    Updates are atomic, so no concurrent update is lost. Every method raises ModelStoreUnavailable if the log can't be
    read or written. Methods that take an id raise UnknownTraining if no job has this id.
    """

    def begin(self, record: TrainingStatus) -> None:
        """Add the status of a training job that is starting."""

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        """Change the status of a training job.

        Args:
            training: the id of the training job.
            how: a function that takes the current status and returns the new status.

        Returns:
            The new status.
        """

    def get(self, training: UUID) -> TrainingStatus:
        """Return the status of a training job."""

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """Return the status of up to `limit` training jobs, newest first."""


RowOutcome = Prediction | InvalidHouses
"""The result for a table row: a prediction, or an error with the violations."""


@frozen
class HouseRows:
    """A batch of table rows.

    Attributes:
        houses: the house in each row, as a mapping of feature names to values. None if the row is malformed.
        origin: the same rows in the input table's own format. PriceTable.write may need this to copy them.
    """

    houses: Sequence[Mapping[str, object] | None]
    origin: Any = None


@frozen
class Houses:
    """The content of a HouseTable.

    Attributes:
        columns: the column names.
        length: the number of rows.
        rows: an iterator over batches of rows.
        notes: how the table was read, such as the detected encoding.
    """

    columns: Sequence[str]
    length: int
    rows: Iterator[HouseRows]
    notes: Sequence[str] = ()


class HouseTable(Protocol):
    """A table with one house per row."""

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """Read the table in batches.

        Args:
            schema: the features. The cells in a feature's column are converted to the feature's kind. The cells in
                other columns are left unchanged.
            size: the number of rows per batch.

        Raises:
            UnreadableFile: if the table can't be read. The iterator over the rows may also raise this error.
        """


class PriceTable(Protocol):
    """An output table: the rows of an input table, with additional columns for the estimates."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the added columns. The input table must not have columns with these names."""

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Write a batch of rows with their outcomes. Raises UnreadableFile if the table can't be written."""
