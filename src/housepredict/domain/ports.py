"""What the core asks of the world. Adapters fit these protocols; they do not inherit from them.

Every port is synchronous and takes a batch; an append may be begun and asked for later, where a repository can.
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
from housepredict.domain.models import Artefact, ModelVersion, Pointer
from housepredict.domain.sales import RecordedSale, Sale, SalesTable
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.training_status import TrainingStatus


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""


class PredictionRepository(Protocol):
    """Remembers every prediction. Raises RepositoryUnavailable when it cannot."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch durably, all or nothing. Ignores predictions whose id is known, was erased or was pruned.

        Raises RefusedPredictions, if the repository can tell, for a batch that it will never take.
        """

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first, at most `limit`; only those with an id below `before` if given."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """The predictions with these ids, each once, in the order of their ids; ids that are not known are left out.

        Raises RepositoryUnavailable, too, where it cannot tell of an id whether it is known.
        """

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """The predictions with ids from `first` on and below `end`, oldest first, at most `limit`.

        Raises RepositoryUnavailable, too, where it cannot tell all of them.
        """

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids durably, all or nothing. Returns how many of them were known.

        An erased id, known or not, is never stored again: appends ignore it, also those that are in flight. After this
        returns, no read gives it. Raises RepositoryUnavailable where that cannot be promised now.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers with ids below `before`. Returns the
        number deleted.

        A deleted id is never stored again. A repository can remember that without the markers, by a watermark above the
        newest id that it has deleted: ids are times, so appends may ignore all ids below it. The watermark must stay
        below the ids that come next, whatever `before` is: the clock of the caller may be wrong.
        """

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these ids that were erased or pruned, whether they were ever stored here or not.

        Raises RepositoryUnavailable, too, where it cannot tell of an id.
        """

    def check(self) -> None:
        """Return if a batch could be recorded now."""


@runtime_checkable
class AppendsInLoop(Protocol):
    """A PredictionRepository that can also be called by an event loop, which it does not block."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        """Begin to store a batch as `append` does. To be called in a running event loop.

        Returns:
            Whether it has begun. The event loop calls `done` afterwards, when the batch is stored, or with the error
            that `append` would raise. If it has not begun, nothing was sent, and `append` is to be called in a thread.
        """


@runtime_checkable
class AppendsShared(Protocol):
    """A PredictionRepository whose `append` may store a batch where other processes do not find it yet."""

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch as `append` does, where every process finds it when this returns.

        For predictions whose ids other processes may store as well: the first batch counts for all of them.

        Raises:
            RepositoryUnavailable: if the database cannot be reached. It may have stored the batch nevertheless.
        """


@runtime_checkable
class HasLabIds(Protocol):
    """A repository that has taken over the predictions of the tutorial's service, which numbered them."""

    def find_by_lab_id(self, number: int) -> Prediction | None:
        """The prediction that had this number there; None if there is none. Raises RepositoryUnavailable."""


class RepositoryOpener(Protocol):
    """Opens a repository of other people's making."""

    def __call__(self, url: str) -> AbstractContextManager[PredictionRepository]:
        """The repository that a URL names, which is closed when its context is left. Raises RepositoryUnavailable."""


@frozen
class Backlog:
    """Predictions that are recorded here and have not reached the repository behind.

    `pending` is how many will be tried again, `oldest` the time of the first of them; `dead_letters` were refused for
    good and are kept. `reason` is why the repository behind takes none at the moment; None if it does.
    """

    pending: int
    oldest: datetime | None
    dead_letters: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return bool(self.pending or self.dead_letters or self.reason)


@runtime_checkable
class HasBacklog(Protocol):
    """A repository that may be behind: other readers do not see yet what waits here."""

    def backlog(self) -> Backlog:
        """What has not got through. Raises RepositoryUnavailable."""

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        """The newest predictions as `recent` reads them, and the backlog at that time.

        A page that lacks what the repository behind holds comes with the reason in its backlog. Asked afterwards,
        `backlog` may know of none any more.
        """


class PredictionKeys(Protocol):
    """Remembers the ids that the predictions of a delivery have. Raises RepositoryUnavailable when it cannot."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """The ids that were reserved for it, in their order; None if its key is not known.

        Raises RepeatedKey if the key came with something else, and ErasedPredictions where the keys know that one of
        these ids was erased.
        """

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Keep these ids for it, one at least, durably, unless some were before, and give back those that are kept:
        callers with the same key get the same ids.

        Raises RepeatedKey and ErasedPredictions as `find` does.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Forget keys whose first id lies below `before`, the oldest first, at most `limit`; how many those were."""


class SaleRepository(Protocol):
    """Remembers what houses sold for that were estimated, and every correction. Raises RepositoryUnavailable when it
    cannot.
    """

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        """Record a batch durably, all or nothing, and give it back in the order of its ids, which are new.

        What came with a delivery whose key is known is not recorded again: what the first one recorded is given back.
        Raises RepeatedKey if that one held something else.
        """

    def largest_id(self) -> UUID | None:
        """The largest of all sales' ids; None if there is none."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        """The sale of each prediction as it was recorded last; of those, what was sold from `since` to `until`, both
        included, latest sale first, of one day the one with the largest id; at most `limit`.
        """

    def erase(self, predictions: Sequence[UUID]) -> int:
        """Forget everything that was recorded for these predictions, durably, all or nothing; how many sales it was.

        The keys that these came with stay known: a delivery that comes again brings none of them back.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """As above, of predictions with an id below `before`, at most `limit` sales."""

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        """Everything that was recorded for a prediction, oldest first; the last is what counts."""


@frozen
class Valuation:
    """What a model says of a batch: prices, one for each house in order, neither rounded nor cut off.

    `spreads`, in the same order, say how uncertain each is beside the others (see Calibration); None if the model
    cannot tell.
    """

    prices: Sequence[float]
    spreads: Sequence[float] | None = None


class Predictor(Protocol):
    """A model version that was loaded."""

    @property
    def version(self) -> ModelVersion:
        """The version that this is."""

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Prices, and how sure they are; a house's does not depend on the others."""


@frozen
class InService:
    """A predictor, and which generation of the pointer put it in service (see Pointer).

    The generation is None for the demonstration, which was never promoted.
    """

    predictor: Predictor
    generation: int | None = None

    @property
    def version(self) -> ModelVersion:
        """The version that serves."""
        return self.predictor.version


class PredictorSource(Protocol):
    """Where the predictor in service comes from."""

    def current(self) -> InService:
        """What is in service, looked for if that is due. Raises NoModel, or why the version was refused."""

    def in_service(self) -> InService:
        """What is in service as of the last look: no I/O. Raises as `current` does."""


class PredictorLoader(Protocol):
    """Makes predictors of what a model store keeps."""

    def __call__(self, version: ModelVersion, artefact: Artefact) -> Predictor:
        """Load a version's serving form. Raises RefusedModel if anything about it is not as the manifest says."""


class Explainer(Protocol):
    """Says what moved the estimates of a model version."""

    @property
    def version(self) -> ModelVersion:
        """The version whose estimates these are."""

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        """An explanation for each house, in order."""


class ModelStore(Protocol):
    """Keeps model versions, which never change, and one pointer to the promoted version.

    Raises ModelStoreUnavailable when it cannot.
    """

    def add(self, version: ModelVersion, artefact: Artefact) -> None:
        """Keep a version, wholly or not at all. A version that is there already is left as it is.

        Raises RefusedModel if the files are not those of the manifest (see models.verify).
        """

    def versions(self) -> Sequence[ModelVersion]:
        """Every version, oldest first; a damaged one is left out."""

    def get(self, name: str) -> tuple[ModelVersion, Artefact]:
        """A version and its files. Raises UnknownModel, or RefusedModel if it is damaged."""

    def promote(self, name: str) -> None:
        """Point at a version, and remember the one before. Raises UnknownModel, and then leaves the pointer.

        Promoting the promoted version changes nothing.
        """

    def rollback(self, name: str) -> None:
        """Point at a version of the history again, and forget those that were promoted after it.

        Raises UnknownModel, and then leaves the pointer, if it is not in the history or not kept.
        """

    def history(self) -> Sequence[str]:
        """The promoted version, the one that was promoted before it, and so on: at least a hundred, if so many were."""

    def pointer(self) -> Pointer:
        """Which version is promoted."""

    def training(self) -> AbstractContextManager[None]:
        """Hold the lock of trainings. Raises TrainingInProgress at once if any process holds it.

        One that was killed holds nothing any more.
        """


Progress = Callable[[int, int], None]
"""Called with the number of finished steps and the number of all steps."""


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

    artefact: Artefact
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
    """A file of sales, or whatever stands for one."""

    @property
    def location(self) -> str | None:
        """Where the sales are, to read them again; None if they are in no file."""

    @property
    def with_recorded(self) -> bool:
        """Whether sales that came back are among them."""

    def read(self) -> SalesTable:
        """Read all of it. Raises UnusableSales if there is nothing to read."""


SalesSources = Callable[[str | None, TrainingOptions, bool], SalesSource]
"""Gives the sales at a location (see SalesSource.location) for a training with these options; reading them may fail.

With True, recorded sales are among them; without a location, they are all there is.
"""


def no_progress(_done: int, _total: int) -> None:
    """A Progress that nobody looks at."""


class TrainingLog(Protocol):
    """Tells of trainings, those of other processes too: the newest hundred at least. It is where model versions are.

    Each change is made at once and wholly, whoever else makes one: none is lost, and of two that contradict each other
    the first counts. Raises ModelStoreUnavailable when it cannot, and UnknownTraining for an id that it does not know.
    """

    def begin(self, record: TrainingStatus) -> None:
        """Tell of a training that begins."""

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        """Replace a record by what `how`, such as TrainingStatus.to_be_cancelled, makes of it. Returns the new one."""

    def get(self, training: UUID) -> TrainingStatus:
        """What is known of it."""

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """The newest, newest first, at most `limit`."""


Outcome = Prediction | InvalidHouses
"""What became of a house: its prediction, or what is wrong with it."""


@frozen
class HouseRows:
    """Some rows of a table: the house in each, None for a row that is none, and the rows as the table has them."""

    houses: Sequence[Mapping[str, object] | None]
    origin: Any = None


@frozen
class Houses:
    """What a table holds: the names of its columns, how many rows it has, and these, some at a time.

    `notes` say what was decided to read it.
    """

    columns: Sequence[str]
    length: int
    rows: Iterator[HouseRows]
    notes: Sequence[str] = ()


class HouseTable(Protocol):
    """A table with a house a row."""

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """All of it, `size` rows at a time, with the features of a schema as their kinds have them. What cannot be read
        so is left as it stands. Raises UnreadableFile, also while rows are read.
        """


class PriceTable(Protocol):
    """Takes rows with what became of them, and adds `columns` of these names to theirs."""

    @property
    def columns(self) -> Sequence[str]:
        """The names, which no column of the rows may have."""

    def write(self, rows: HouseRows, outcomes: Sequence[Outcome]) -> None:
        """Add some rows. Raises UnreadableFile."""
