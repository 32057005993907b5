"""The ports: protocols for what the domain needs from the outside. Adapters implement them without inheriting.

All methods are synchronous, and take batches where speed matters.
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
    """A clock."""

    def now(self) -> datetime:
        """Return the time in UTC, with a time zone."""


class PredictionRepository(Protocol):
    """A store of predictions. Each method raises RepositoryUnavailable if the store can't be used at the moment."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch durably, all or nothing. Ignores predictions whose id is known, was erased or was pruned.

        Raises:
            RepositoryUnavailable: if the batch was not stored; the caller may try again.
            RefusedPredictions: if the batch can never be stored, as far as the repository can tell.
        """

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """Return up to `limit` of the newest predictions, newest first; with `before`, only those with a lower id."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """Return the predictions with these ids, in the order of their ids, each once. Skips unknown ids.

        Raises:
            RepositoryUnavailable: also if the repository can't tell whether an id is known.
        """

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """Return up to `limit` predictions, oldest first, with ids from `first`, included, to `end`, excluded.

        Raises:
            RepositoryUnavailable: also if some of the predictions can't be read.
        """

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase predictions durably, all or nothing. Returns how many of the ids were known.

        After this returns, no read returns them, and no append, even one in flight, stores one of these ids again. This
        also holds for ids that were unknown.

        Raises:
            RepositoryUnavailable: also if the repository can't promise that now.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers with ids below `before`.

        A deleted id is never stored again. Instead of markers, a repository can use a watermark above the newest id
        that it has deleted: ids sort by time, so appends may ignore all ids below it. The watermark must stay below
        the ids of future predictions even if `before` is far in the future: the clock of the caller may be wrong.

        Returns:
            The number deleted.
        """

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Return which of these ids were erased or pruned, including ids that were never stored here.

        Raises:
            RepositoryUnavailable: also if the repository can't tell for an id.
        """

    def check(self) -> None:
        """Raise RepositoryUnavailable unless a batch could be stored now."""


@runtime_checkable
class AppendsInLoop(Protocol):
    """A PredictionRepository that can also store batches from an event loop, without blocking it."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        """Start to store a batch as `append` does. Must be called in a running event loop.

        Args:
            predictions: the batch.
            done: called later by the event loop: with None once the batch is stored, or with the error that `append`
                would have raised.

        Returns:
            Whether the append has started. If not, nothing was sent: call `append` in a thread.
        """


@runtime_checkable
class HasLabIds(Protocol):
    """A PredictionRepository that has imported the predictions of the tutorial's service, which have numbers as ids."""

    def find_by_lab_id(self, number: int) -> Prediction | None:
        """Return the prediction that had this number, or None. Raises RepositoryUnavailable."""


RepositoryOpener = Callable[[str], AbstractContextManager[PredictionRepository]]
"""A plug-in's function that opens the repository at a URL, for a `with` block. Raises RepositoryUnavailable."""


@frozen
class Backlog:
    """The numbers of predictions that are stored locally: `pending` ones that will be sent to the database, with the
    time of the oldest, and `dead_letters` that it has refused for good. `reason` is why it accepts none now.
    """

    pending: int
    oldest: datetime | None
    dead_letters: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return bool(self.pending or self.dead_letters or self.reason)


@runtime_checkable
class HasBacklog(Protocol):
    """A PredictionRepository that may store a batch locally, where other processes don't see it yet.

    Each method raises RepositoryUnavailable.
    """

    def backlog(self) -> Backlog:
        """Return the predictions that have not reached the database."""

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        """Return the newest predictions as `recent` does, and the backlog at the time of that read.

        If the predictions in the database are missing from the result, the backlog has the reason. A later call of
        `backlog` may not have it.
        """

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch as `append` does, in the database itself: when this returns, every process can read it.

        For predictions whose ids other processes may store as well: the first batch wins. After
        RepositoryUnavailable, the database may still have stored the batch.
        """


class PredictionKeys(Protocol):
    """A store of idempotency keys with the ids of their predictions. Each method raises RepositoryUnavailable."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """Return the ids reserved for a delivery, in order; None if its key is unknown.

        Raises:
            RepeatedKey: if the key was used for a different request.
            ErasedPredictions: if one of the ids is known to be erased.
        """

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Reserve ids (at least one) for a delivery durably, unless its key has reserved ids. Raises as `find` does.

        Returns:
            The reserved ids, which are the same for all callers with this key.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest keys whose first id is below `before`. Returns the number deleted."""


class SaleRepository(Protocol):
    """A store of realized sales and their corrections. Each method raises RepositoryUnavailable."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        """Store a batch with new ids durably, all or nothing.

        Returns:
            The batch in the order of its ids. For a delivery whose key is known, nothing is stored, and the batch that
            was stored first is returned.

        Raises:
            RepeatedKey: if the key was used for a different batch.
        """

    def largest_id(self) -> UUID | None:
        """Return the largest id of all sales, or None."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        """Return up to `limit` sales with dates from `since` to `until`, both included, without corrected ones.

        They are sorted by date and id, latest first. Of several sales of a prediction, the last recorded counts.
        """

    def erase(self, predictions: Sequence[UUID]) -> int:
        """Erase all sales of these predictions durably, all or nothing. Returns the number of sales.

        Their idempotency keys stay known, so that a repeated delivery stores none of them again.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Erase up to `limit` sales of predictions with ids below `before`. Returns the number of sales."""

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        """Return all sales recorded for a prediction, oldest first; the last one counts."""


@frozen
class Valuation:
    """A model's output for a batch of houses: for each house the price, not yet rounded or limited, and the spread.

    The spread is the expected error of the price (see Calibration); `spreads` is None for a model without it.
    """

    prices: Sequence[float]
    spreads: Sequence[float] | None = None


class Predictor(Protocol):
    """A model version that is loaded into memory."""

    @property
    def version(self) -> ModelVersion:
        """The version."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Compute prices and spreads. The output for a house does not depend on the other houses of the batch."""


@frozen
class InService:
    """The predictor in service, and the generation of the pointer that selected it (see Pointer).

    The generation is None for the demo model, which was never promoted.
    """

    predictor: Predictor
    generation: int | None = None

    @property
    def version(self) -> ModelVersion:
        """The version in service."""
        return self.predictor.version


class PredictorSource(Protocol):
    """The source of the version in service, which follows the promoted version.

    Each method raises NoModel, or the error that kept the promoted version from being loaded.
    """

    def current(self) -> InService:
        """Return the version in service, after a look at the model store if one is due."""

    def in_service(self) -> InService:
        """Return the version that was in service at the last look at the model store, without any I/O."""


PredictorLoader = Callable[[ModelVersion, Artifact], Predictor]
"""A function that loads the serving form of a version. Raises RefusedModel if it does not match the manifest."""


class Explainer(Protocol):
    """The explainer of a model version."""

    @property
    def version(self) -> ModelVersion:
        """The version."""

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        """Explain the estimate of each house, in order."""


class ModelStore(Protocol):
    """A store of immutable model versions, with one pointer to the promoted version.

    Each method raises ModelStoreUnavailable.
    """

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        """Store a version, all or nothing. An existing version of this name stays unchanged.

        Raises:
            RefusedModel: if the files don't match the manifest (see models.verify).
        """

    def versions(self) -> Sequence[ModelVersion]:
        """List all versions, oldest first. Skips damaged ones."""

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        """Return a version and its files. Raises UnknownModel, or RefusedModel if it is damaged."""

    def promote(self, name: str) -> None:
        """Move the pointer to a version, and add it to the history. Promoting the promoted version has no effect.

        Raises:
            UnknownModel: if the version is not stored; the pointer stays.
        """

    def rollback(self, name: str) -> None:
        """Move the pointer back to a version in the history, and remove the later ones from the history.

        Raises:
            UnknownModel: if the version is not in the history, or not stored; the pointer stays.
        """

    def history(self) -> Sequence[str]:
        """List the promoted version, the one promoted before it, and so on: at least the last hundred."""

    def pointer(self) -> Pointer:
        """Read the pointer."""

    def training(self) -> AbstractContextManager[None]:
        """Hold the training lock in a `with` block. The end of the process releases it, too.

        Raises:
            TrainingInProgress: at once, if any process holds the lock.
        """


Progress = Callable[[int, int], None]
"""A callback that receives the number of completed steps and of all steps."""


def no_progress(_done: int, _total: int) -> None:
    """Ignore progress."""


@frozen
class CalibratedModel:
    """A fitted model: its `predict` function (see Predictor.predict), and the calibration of its intervals."""

    predict: Callable[[Sequence[House]], Valuation]
    calibration: Calibration | None


@frozen
class TrainedModel(CalibratedModel):
    """The result of a training.

    Attributes:
        refit: fits the best candidate of the search to other sales of the same schema.
        irreproducible: why the same sales and options may train a different model; None if they train the same one.
        with_plain_intervals: returns the same model with plain intervals, without another fit; None if its intervals
            are plain (see IntervalKind).
    """

    artifact: Artifact
    algorithm: Algorithm
    libraries: Mapping[str, str]
    refit: Callable[[Sequence[Sale]], CalibratedModel]
    irreproducible: str | None = None
    with_plain_intervals: Callable[[], TrainedModel] | None = None


class Trainer(Protocol):
    """A trainer of models."""

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        """Search for the best model, and fit it to sales.

        Args:
            schema: the features.
            sales: the training sales.
            options: the algorithm, effort, seed and time limit are used.
            progress: called after each step.

        Raises:
            RefusedModel: if the serving form of the model fails the parity check.
        """


class SalesSource(Protocol):
    """A source of sales: a file, the recorded sales, or both."""

    @property
    def location(self) -> str | None:
        """The location of the file; None without a file."""

    @property
    def with_recorded(self) -> bool:
        """Whether the source includes the recorded sales."""

    def read(self) -> SalesTable:
        """Read all sales. Raises UnusableSales if there are none, or they can't be read."""


SalesSources = Callable[[str | None, TrainingOptions, bool], SalesSource]
"""A function that returns the source for a location (None for no file), training options, and whether to include the
recorded sales. It does not read the sales yet.
"""


class TrainingLog(Protocol):
    """A log of the status of trainings, shared by all processes. It keeps at least the hundred newest.

    Changes are atomic: none is lost. Each method raises ModelStoreUnavailable, and UnknownTraining for an unknown id.
    """

    def begin(self, record: TrainingStatus) -> None:
        """Add a training that starts."""

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        """Replace a status by the result of `how`, such as TrainingStatus.request_cancellation, and return that."""

    def get(self, training: UUID) -> TrainingStatus:
        """Return the status of a training."""

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """Return the status of up to `limit` of the newest trainings, newest first."""


RowOutcome = Prediction | InvalidHouses
"""The result for a row of a table: the prediction, or the violations of the house."""


@frozen
class HouseRows:
    """A batch of rows: a house for each row, or None for a malformed row, and the rows in the table's own format."""

    houses: Sequence[Mapping[str, object] | None]
    origin: Any = None


@frozen
class Houses:
    """The content of a table: its columns, its number of rows, and an iterator over batches of rows.

    `notes` say how the table was read, such as its encoding.
    """

    columns: Sequence[str]
    length: int
    rows: Iterator[HouseRows]
    notes: Sequence[str] = ()


class HouseTable(Protocol):
    """A table with a house in each row."""

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """Read the table in batches.

        Args:
            schema: cells of its features are converted to their kinds; other cells stay as they are.
            size: the number of rows in a batch.

        Raises:
            UnreadableFile: if the table can't be read, also later from the iterator of rows.
        """


class PriceTable(Protocol):
    """A writer of tables that extends rows by columns for the estimates."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the added columns. No column of the rows may have one of these names."""

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Write a batch of rows with their results. Raises UnreadableFile."""
