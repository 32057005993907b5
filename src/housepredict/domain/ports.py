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
        """Store a batch durably (all or nothing). Skips predictions whose ids are already stored, erased or pruned.

        Raises:
            RepositoryUnavailable: if the batch was not stored. The caller may retry.
            RefusedPredictions: if the batch was not stored and retrying won't help.
        """

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """Return the `limit` newest predictions, newest first. If `before` is given, only ids below it are included."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """Return the predictions with these ids, sorted by id and without duplicates. Skips unknown ids.

        Raises:
            RepositoryUnavailable: also if the repository can't determine whether an id is stored.
        """

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """Return up to `limit` predictions with `first` <= id < `end`, oldest first.

        Raises:
            RepositoryUnavailable: also if some of the predictions can't be read.
        """

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase predictions durably (all or nothing).

        After this call, reads never return these predictions, and appends never store these ids again. That includes
        appends already in flight, and ids that were not stored before.

        Returns:
            How many of the ids were stored.

        Raises:
            RepositoryUnavailable: also if the repository can't currently guarantee this.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers with ids below `before`.

        A deleted id is never stored again. Because ids sort by time, a repository can enforce this without markers: it
        remembers a watermark just above the newest deleted id, and appends ignore all ids below the watermark. The
        watermark must stay below the ids of future predictions even if `before` is far in the future, because the
        caller's clock may be wrong.

        Returns:
            The number of deleted predictions and markers.
        """

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Return the ids among `ids` that were erased or pruned, including erased ids that were never stored.

        Raises:
            RepositoryUnavailable: also if the repository can't determine this for every id.
        """

    def check(self) -> None:
        """Raise RepositoryUnavailable if the repository can't currently store a batch."""


@runtime_checkable
class AppendsInLoop(Protocol):
    """A PredictionRepository that can also store batches from an event loop, without blocking it."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        """Start storing a batch without waiting for it. Must be called in a running event loop.

        Args:
            predictions: the batch.
            done: called by the event loop when the append has finished. The argument is None on success, otherwise the
                error that `append` would have raised.

        Returns:
            Whether the append was started. If not, nothing was sent, and the caller should call `append` in a thread.
        """


@runtime_checkable
class HasLabIds(Protocol):
    """A PredictionRepository that can look up imported predictions by lab id.

    Predictions imported from the tutorial's service had an integer id there, the lab id.
    """

    def find_by_lab_id(self, number: int) -> Prediction | None:
        """Return the imported prediction with this lab id, or None. Raises RepositoryUnavailable."""


RepositoryOpener = Callable[[str], AbstractContextManager[PredictionRepository]]
"""A plug-in function that takes a URL and returns a context manager, which opens and closes the repository.

Raises RepositoryUnavailable.
"""


@frozen
class Backlog:
    """Counts of the predictions that are stored locally but not in the database.

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
    """A PredictionRepository that may store a batch locally first, where other processes can't see it yet.

    Every method raises RepositoryUnavailable.
    """

    def backlog(self) -> Backlog:
        """Return the counts of predictions that have not reached the database."""

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        """Return the newest predictions (see `recent`), and the backlog at the time they were read.

        If the database could not be read, the result contains only local predictions, and the backlog's `reason` says
        why. A later call to `backlog` may no longer include that reason.
        """

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch directly in the database, so that every process can read it when this call returns.

        Use this for ids that other processes may also store. The first stored batch wins. If this raises
        RepositoryUnavailable, the database may have stored the batch anyway.
        """


class PredictionKeys(Protocol):
    """A store of idempotency keys and the prediction ids reserved for them.

    Every method raises RepositoryUnavailable.
    """

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """Return the ids reserved for a delivery, in order, or None if its key is unknown.

        Raises:
            RepeatedKey: if the key was used for a different request.
            ErasedPredictions: if a prediction with one of the ids is known to be erased.
        """

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Reserve `ids` (at least one) durably for a delivery, unless ids are already reserved for its key.

        Returns:
            The reserved ids. All callers with this key get the same ids.

        Raises:
            RepeatedKey: if the key was used for a different request.
            ErasedPredictions: if a prediction with one of the reserved ids is known to be erased.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest keys whose first id is below `before`. Returns how many were deleted."""


class SaleRepository(Protocol):
    """A store of realized sales and their corrections. Every method raises RepositoryUnavailable."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        """Store a batch of sales with new ids durably (all or nothing).

        If the delivery's key was used before, nothing is stored.

        Returns:
            The stored batch, sorted by id. If the key was used before, this is the batch stored then.

        Raises:
            RepeatedKey: if the key was used for a different batch.
        """

    def largest_id(self) -> UUID | None:
        """Return the largest id of all sales, or None if there are no sales."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        """Return up to `limit` sales dated from `since` to `until` (inclusive), sorted by date and id, latest first.

        If several sales were recorded for a prediction, only the last recorded one is considered.
        """

    def erase(self, predictions: Sequence[UUID]) -> int:
        """Erase all sales of these predictions durably (all or nothing). Returns how many sales were erased.

        The sales' idempotency keys are retained so that a retried delivery doesn't store the sales again.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Erase up to `limit` sales whose prediction ids are below `before`. Returns how many were erased."""

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        """Return all sales recorded for a prediction, oldest first. The last one is the valid one."""


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
    """A model version loaded into memory."""

    @property
    def version(self) -> ModelVersion:
        """The loaded model version."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Compute prices and spreads. The output for a house does not depend on the other houses in the batch."""


@frozen
class InService:
    """The predictor in service.

    Attributes:
        generation: the generation of its promotion (see Pointer), or None for the demo model, which is never promoted.
    """

    predictor: Predictor
    generation: int | None = None

    @property
    def version(self) -> ModelVersion:
        """The model version in service."""
        return self.predictor.version


class PredictorSource(Protocol):
    """A provider of the predictor in service. When another model version is promoted, the predictor changes.

    Every method raises NoModel, or the error that prevented the promoted version from being loaded.
    """

    def current(self) -> InService:
        """Return the predictor in service, after checking the model store for a new promotion if a check is due."""

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

    Every method raises ModelStoreUnavailable.
    """

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        """Store a version (all or nothing). If a version with this name exists, it is left unchanged.

        Raises:
            RefusedModel: if the files don't match the manifest (see models.verify).
        """

    def versions(self) -> Sequence[ModelVersion]:
        """Return all versions, oldest first. Skips damaged versions."""

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        """Return a version and its files. Raises UnknownModel, or RefusedModel if the version is damaged."""

    def promote(self, name: str) -> None:
        """Move the pointer to a version, and add the version to the history. No-op if it is already promoted.

        Raises:
            UnknownModel: if the version is not stored. The pointer is not moved.
        """

    def rollback(self, name: str) -> None:
        """Move the pointer back to a version in the history, and remove later versions from the history.

        Raises:
            UnknownModel: if the version is not in the history, or not stored. The pointer is not moved.
        """

    def history(self) -> Sequence[str]:
        """Return the names of promoted versions, latest promotion first. Includes at least the last 100 promotions."""

    def pointer(self) -> Pointer:
        """Return the pointer to the promoted version."""

    def training(self) -> AbstractContextManager[None]:
        """Acquire the training lock for a `with` block. The lock is also released if the process exits.

        Raises:
            TrainingInProgress: immediately, if any process holds the lock.
        """


Progress = Callable[[int, int], None]
"""A callback that receives the number of completed steps and the total number of steps."""


def no_progress(_done: int, _total: int) -> None:
    """Ignore progress."""


@frozen
class CalibratedModel:
    """A fitted model: its `predict` function (see Predictor.predict) and the calibration of its intervals.

    `calibration` is None if the model has no intervals.
    """

    predict: Callable[[Sequence[House]], Valuation]
    calibration: Calibration | None


@frozen
class TrainedModel(CalibratedModel):
    """The result of a model search.

    Attributes:
        refit: a function that fits the best candidate of the search to other sales with the same schema.
        irreproducible: why training again with the same sales and options may produce a different model, or None if
            the training is reproducible.
        with_plain_intervals: a function that returns the same model with plain intervals (see IntervalKind), without
            refitting it. None if the model already has plain intervals.
    """

    artifact: Artifact
    algorithm: Algorithm
    libraries: Mapping[str, str]
    refit: Callable[[Sequence[Sale]], CalibratedModel]
    irreproducible: str | None = None
    with_plain_intervals: Callable[[], TrainedModel] | None = None


class Trainer(Protocol):
    """An algorithm that trains models."""

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        """Search for the best model, and fit it to the training sales.

        Args:
            schema: the features.
            sales: the training sales.
            options: the training options. Only the algorithm, effort, seed and time limit are used.
            progress: called after each step.

        Raises:
            RefusedModel: if the model's serving form fails the parity check.
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
    """A log with the status of each training job, shared by all processes. It retains at least the newest 100 jobs.

    Updates are atomic, so no concurrent update is lost. Every method raises ModelStoreUnavailable, or UnknownTraining
    if the id is unknown.
    """

    def begin(self, record: TrainingStatus) -> None:
        """Add the status of a training job that is starting."""

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        """Replace the status of a training job with `how(status)`. Returns the new status."""

    def get(self, training: UUID) -> TrainingStatus:
        """Return the status of a training job."""

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """Return the status of the `limit` newest training jobs, newest first."""


RowOutcome = Prediction | InvalidHouses
"""The result for a table row: a prediction, or an error with the violations."""


@frozen
class HouseRows:
    """A batch of table rows.

    Attributes:
        houses: for each row, its house, or None if the row is malformed.
        origin: the rows in the table's native format.
    """

    houses: Sequence[Mapping[str, object] | None]
    origin: Any = None


@frozen
class Houses:
    """The content of a table.

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
            schema: the features. Their cells are converted to the feature's kind, and other cells are left unchanged.
            size: the number of rows per batch.

        Raises:
            UnreadableFile: if the table can't be read. The row iterator may raise it later, too.
        """


class PriceTable(Protocol):
    """An output table: the rows of an input table, with additional columns for the estimates."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the added columns. The input table must not have columns with these names."""

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Write a batch of rows with their outcomes. Raises UnreadableFile."""
