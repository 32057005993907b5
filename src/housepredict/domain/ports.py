"""What the core asks of the world. Adapters fit these protocols; they do not inherit from them.

Every port is synchronous and takes a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

from attrs import frozen

from housepredict.domain.estimates import Calibration, Prediction
from housepredict.domain.explanations import Explanation
from housepredict.domain.features import FeatureSchema, House
from housepredict.domain.models import Algorithm, Artefact, ModelVersion, TrainingOptions
from housepredict.domain.sales import Sale, SalesTable

Progress = Callable[[int, int], None]
"""Is told how many steps of how many are done."""


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""


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


class PredictorSource(Protocol):
    """Where the predictor in service comes from."""

    def current(self) -> Predictor:
        """The predictor in service, looked for if that is due. Raises NoModel, or why the version was refused."""

    def in_service(self) -> Predictor:
        """The predictor in service as of the last look: no I/O. Raises as `current` does."""


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


class ExplainerSource(Protocol):
    """Where explainers come from."""

    def of(self, version: ModelVersion) -> Explainer:
        """The explainer of a version. Raises NoExplanation if it has none, UnknownModel, RefusedModel or
        ModelStoreUnavailable.
        """


class ExplainerLoader(Protocol):
    """Makes explainers of what a model store keeps."""

    def __call__(self, version: ModelVersion, artefact: Artefact) -> Explainer:
        """Load what explains a version. Raises NoExplanation, or RefusedModel if it is not as the manifest says."""


@frozen
class Learned:
    """What a serving form predicts (see Predictor.predict), and how sure it is."""

    predict: Callable[[Sequence[House]], Valuation]
    calibration: Calibration | None


@frozen
class Fitted(Learned):
    """What a training made: the artefact, the algorithm that was chosen, and the versions of the libraries.

    `again` learns from other sales of the same schema, and from these nothing but the recipe that the search found.
    `irreproducible` is as in ModelVersion.
    """

    artefact: Artefact
    algorithm: Algorithm
    libraries: Mapping[str, str]
    again: Callable[[Sequence[Sale]], Learned]
    irreproducible: str | None = None


class Trainer(Protocol):
    """Fits models."""

    def fit(self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress) -> Fitted:
        """Fit a model to sales with the options' algorithm, effort, seed and time limit, and prove that its serving
        form predicts as the model itself does.

        Raises RefusedModel if it does not.
        """


class SalesSource(Protocol):
    """A file of sales, or whatever stands for one."""

    @property
    def location(self) -> str | None:
        """Where the sales are, to read them again; None if they are synthetic."""

    def read(self) -> SalesTable:
        """Read all of it. Raises UnusableSales if there is nothing to read."""


class SalesSources(Protocol):
    """Finds the sales that a version was trained on again."""

    def __call__(self, location: str | None) -> SalesSource:
        """The source at a location, see SalesSource.location; reading it may fail."""


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

    def promoted(self) -> str | None:
        """The name of the promoted version; None before the first promotion."""

    def training(self) -> AbstractContextManager[None]:
        """Held by whoever trains: raises TrainingInProgress at once if another does, in whatever process.

        One that was killed holds nothing any more.
        """


class PredictionRepository(Protocol):
    """Remembers every prediction. Raises RepositoryUnavailable when it cannot."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Record a batch durably, all or nothing; a prediction whose id is known already is ignored.

        Raises RefusedPredictions, if the repository can tell, for a batch that it will never take.
        """

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first, at most `limit`; only those with an id below `before` if given."""

    def check(self) -> None:
        """Return if a batch could be recorded now."""


@frozen
class Backlog:
    """Predictions that are recorded here and have not reached the repository behind.

    `waiting` is how many will be tried again, `oldest` the time of the first of them; `set_aside` were refused for
    good and are kept. `reason` is why the repository behind takes none at the moment; None if it does.
    """

    waiting: int
    oldest: datetime | None
    set_aside: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return bool(self.waiting or self.set_aside or self.reason)


@runtime_checkable
class Backlogged(Protocol):
    """A repository that may be behind: other readers do not see yet what waits here."""

    def backlog(self) -> Backlog:
        """What has not got through. Raises RepositoryUnavailable."""
