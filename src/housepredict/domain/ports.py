"""The ports: what the domain needs from the outside. Adapters fit these protocols; they do not inherit from them.

Every port is synchronous and takes a batch. A repository may also take batches from an event loop.
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
    """Tells the time."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""


class PredictionRepository(Protocol):
    """Stores predictions. Each method raises RepositoryUnavailable."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch durably, all or nothing. Ignores predictions whose id is known, was erased or was pruned.

        Raises RefusedPredictions for a batch that can never be stored, if the repository can tell.
        """

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """Up to `limit` of the newest predictions, newest first; with `before`, only those with an id below it."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """The predictions with these ids, each once, in the order of their ids, without unknown ids.

        Raises RepositoryUnavailable, too, if it can't tell whether an id is known.
        """

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """Up to `limit` predictions with ids from `first` on and below `end`, oldest first.

        Raises RepositoryUnavailable, too, if some can't be read.
        """

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids durably, all or nothing. Returns the number of known ids.

        An erased id, known or not, is never stored again: appends ignore it, also those in flight. After this returns,
        no read returns it. Raises RepositoryUnavailable, too, if that can't be promised now.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers below `before`. Returns their number.

        A deleted id is never stored again. A repository can remember that without the markers, by a watermark above the
        newest id that it has deleted: ids are times, so appends may ignore all ids below it. The watermark must stay
        below the ids that come next, whatever `before` is: the clock of the caller may be wrong.
        """

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these ids that were erased or pruned, whether they were ever stored here or not.

        Raises RepositoryUnavailable, too, if it can't tell for an id.
        """

    def check(self) -> None:
        """Return if a batch could be stored now."""


@runtime_checkable
class AppendsInLoop(Protocol):
    """A PredictionRepository that also takes batches from an event loop, without blocking it."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        """Begin to store a batch as `append` does. Call it in a running event loop.

        Returns:
            Whether it has begun. The event loop later calls `done`, with None once the batch is stored, or with the
            error that `append` would raise. If it has not begun, nothing was sent: call `append` in a thread.
        """


@runtime_checkable
class HasLabIds(Protocol):
    """A PredictionRepository that has taken over the numbered predictions of the tutorial's service."""

    def find_by_lab_id(self, number: int) -> Prediction | None:
        """The prediction that had this number there, or None. Raises RepositoryUnavailable."""


RepositoryOpener = Callable[[str], AbstractContextManager[PredictionRepository]]
"""A plug-in's function that opens the repository of a URL until its context ends. Raises RepositoryUnavailable."""


@frozen
class Backlog:
    """Predictions that have not reached the repository behind: the pending ones, which will be tried again, the time of
    the oldest of these, the dead letters, which it refused for good, and why it takes none now.
    """

    pending: int
    oldest: datetime | None
    dead_letters: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return bool(self.pending or self.dead_letters or self.reason)


@runtime_checkable
class HasBacklog(Protocol):
    """A PredictionRepository that may store a batch where other processes do not find it yet.

    Each method raises RepositoryUnavailable.
    """

    def backlog(self) -> Backlog:
        """The predictions that have not reached the repository behind."""

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        """The newest predictions as `recent` reads them, and the backlog at that time.

        It has the reason if the predictions behind are missing; the backlog of a later call may not.
        """

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch as `append` does, where every process finds it when this returns.

        For predictions whose ids other processes may store as well: the first batch counts for all of them. After
        RepositoryUnavailable, the database may have stored the batch nevertheless.
        """


class PredictionKeys(Protocol):
    """Stores the prediction ids of idempotency keys. Each method raises RepositoryUnavailable."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """The ids that were reserved for a delivery, in their order; None if its key is unknown.

        Raises RepeatedKey if the key came with another request, and ErasedPredictions if the keys know that one of
        these ids was erased.
        """

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Reserve at least one id for a delivery, durably, unless ids are reserved already. Returns the reserved ids.

        Callers with the same key get the same ids. Raises what `find` raises.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest keys whose first id is below `before`. Returns the number deleted."""


class SaleRepository(Protocol):
    """Stores realized sales and their corrections. Each method raises RepositoryUnavailable."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        """Store a batch durably, all or nothing. Returns it in the order of its ids, which are new.

        For a delivery with a known key, stores nothing, and returns what the first delivery stored. Raises RepeatedKey
        if that held something else.
        """

    def largest_id(self) -> UUID | None:
        """The largest id of all sales, or None."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        """Up to `limit` sales from `since` to `until`, both included, latest first, of one day the largest id first.

        Of each prediction only the sale that was recorded last counts.
        """

    def erase(self, predictions: Sequence[UUID]) -> int:
        """Erase all sales of these predictions durably, all or nothing. Returns the number of sales.

        Their keys stay known, so that a repeated delivery stores none of them again.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Erase up to `limit` sales of predictions with an id below `before`. Returns the number of sales."""

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        """All sales recorded for a prediction, oldest first; the last counts."""


@frozen
class Valuation:
    """A price for each house of a batch, neither rounded nor cut off, and the spread of each (see Calibration).

    `spreads` is None if the model can't tell how uncertain a price is beside the others.
    """

    prices: Sequence[float]
    spreads: Sequence[float] | None = None


class Predictor(Protocol):
    """A loaded model version."""

    @property
    def version(self) -> ModelVersion:
        """The version."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Prices and spreads. Those of a house don't depend on the other houses."""


@frozen
class InService:
    """The predictor in service, and the generation of the pointer that put it there (see Pointer).

    The generation is None for the demonstration, which was never promoted.
    """

    predictor: Predictor
    generation: int | None = None

    @property
    def version(self) -> ModelVersion:
        """The version in service."""
        return self.predictor.version


class PredictorSource(Protocol):
    """Follows the promoted version. Each method raises NoModel, or why the version was refused."""

    def current(self) -> InService:
        """What is in service. Looks at the model store if that is due."""

    def in_service(self) -> InService:
        """What was in service at the last look. Does no I/O."""


PredictorLoader = Callable[[ModelVersion, Artifact], Predictor]
"""Loads the serving form of a version. Raises RefusedModel if it does not match the manifest."""


class Explainer(Protocol):
    """Explains the estimates of a model version."""

    @property
    def version(self) -> ModelVersion:
        """The version."""

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        """An explanation for each house, in order."""


class ModelStore(Protocol):
    """Stores immutable model versions, and one pointer to the promoted version.

    Each method raises ModelStoreUnavailable.
    """

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        """Store a version, all or nothing; leave an existing one as it is.

        Raises RefusedModel if the files are not those of the manifest (see models.verify).
        """

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, oldest first, without damaged ones."""

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        """A version and its files. Raises UnknownModel, or RefusedModel if it is damaged."""

    def promote(self, name: str) -> None:
        """Point at a version, and add it to the history. To promote the promoted version changes nothing.

        Raises UnknownModel, and then leaves the pointer.
        """

    def rollback(self, name: str) -> None:
        """Point at a version of the history again, and remove the later ones from the history.

        Raises UnknownModel, and then leaves the pointer, if it is not in the history or not stored.
        """

    def history(self) -> Sequence[str]:
        """The promoted version, the one that was promoted before it, and so on: at least the last hundred."""

    def pointer(self) -> Pointer:
        """Which version is promoted."""

    def training(self) -> AbstractContextManager[None]:
        """Hold the lock of trainings, until the process ends at the latest.

        Raises TrainingInProgress at once if any process holds it.
        """


Progress = Callable[[int, int], None]
"""Receives the number of finished steps and the number of all steps."""


def no_progress(_done: int, _total: int) -> None:
    """Ignore the progress."""


@frozen
class CalibratedModel:
    """A model that predicts (see Predictor.predict), and the calibration of its intervals."""

    predict: Callable[[Sequence[House]], Valuation]
    calibration: Calibration | None


@frozen
class TrainedModel(CalibratedModel):
    """The result of a training: the model, its files, the algorithm chosen, and the versions of the libraries.

    `refit` fits the candidate that the search found to other sales of the same schema. `irreproducible` is as in
    ModelVersion. `with_plain_intervals` returns the same model with plain intervals, without another fit; it is None
    if the intervals are plain (see IntervalKind).
    """

    artifact: Artifact
    algorithm: Algorithm
    libraries: Mapping[str, str]
    refit: Callable[[Sequence[Sale]], CalibratedModel]
    irreproducible: str | None = None
    with_plain_intervals: Callable[[], TrainedModel] | None = None


class Trainer(Protocol):
    """Fits models."""

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        """Fit a model to sales with the options' algorithm, effort, seed and time limit.

        Raises:
            RefusedModel: if its serving form fails the parity check.
        """


class SalesSource(Protocol):
    """A file of sales, or the recorded sales, or both."""

    @property
    def location(self) -> str | None:
        """Where to read the sales again; None if they are in no file."""

    @property
    def with_recorded(self) -> bool:
        """Whether recorded sales are among them."""

    def read(self) -> SalesTable:
        """Read all sales. Raises UnusableSales if there is nothing to read."""


SalesSources = Callable[[str | None, TrainingOptions, bool], SalesSource]
"""Returns the sales at a location (see SalesSource.location) for a training with these options. Reading may fail.

With True, recorded sales are among them; without a location, there are no others.
"""


class TrainingLog(Protocol):
    """Stores the status of the newest trainings, at least a hundred, of all processes.

    Each change is atomic: none is lost, and of two that contradict each other the first counts. Each method raises
    ModelStoreUnavailable, and UnknownTraining for an unknown id.
    """

    def begin(self, record: TrainingStatus) -> None:
        """Add a training that begins."""

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        """Replace a status by what `how`, such as TrainingStatus.to_be_cancelled, makes of it. Returns the new one."""

    def get(self, training: UUID) -> TrainingStatus:
        """The status of a training."""

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """Up to `limit` of the newest trainings, newest first."""


RowOutcome = Prediction | InvalidHouses
"""The prediction of a house, or its violations."""


@frozen
class HouseRows:
    """Some rows of a table: a house for each row, or None, and the rows as they are in the table."""

    houses: Sequence[Mapping[str, object] | None]
    origin: Any = None


@frozen
class Houses:
    """The content of a table: its columns, its number of rows, and the rows, some at a time.

    `notes` report how it was read.
    """

    columns: Sequence[str]
    length: int
    rows: Iterator[HouseRows]
    notes: Sequence[str] = ()


class HouseTable(Protocol):
    """A table with a house in each row."""

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """Read `size` rows at a time, with values of the kinds of the schema's features; others stay as they are.

        Raises UnreadableFile, also while rows are read.
        """


class PriceTable(Protocol):
    """Takes rows with what became of them, and adds `columns` of these names to theirs."""

    @property
    def columns(self) -> Sequence[str]:
        """The names, which no column of the rows may have."""

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Add rows with their outcomes. Raises UnreadableFile."""
