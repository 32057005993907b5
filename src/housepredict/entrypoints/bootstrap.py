"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import define, field

from housepredict.adapters.clock import SystemClock
from housepredict.adapters.directory import DirectoryModels
from housepredict.adapters.live_model import LiveModel
from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.signed_models import SignedModels
from housepredict.domain.errors import MissingExtra
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import (
    Backlog,
    Backlogged,
    ModelStore,
    PredictionRepository,
    SalesSource,
    Trainer,
    TrainingLog,
)
from housepredict.domain.usecases import Explain, Predict, Promote, Train, Trainings
from housepredict.entrypoints.settings import IN_MEMORY, Settings

if TYPE_CHECKING:
    from housepredict.entrypoints.training_jobs import TrainingJobs

POSTGRES_PATIENCE = 1.0
"""Seconds that PostgreSQL has for an answer; then the spool takes what was to be recorded."""


@define(slots=False)
class Application:
    """The use cases, wired to the adapters that the settings ask for.

    What is not used is neither opened nor imported: numpy with the first model, the database at the first prediction
    or at `predictions`, scikit-learn at the first training.
    """

    settings: Settings
    _resources: ExitStack = field(factory=ExitStack, repr=False)
    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @cached_property
    def model_store(self) -> ModelStore:
        """Where model versions are kept, whoever made them."""
        own = DirectoryModels(self.settings.data_dir / "models")
        if self._shared is None:
            return own
        with _needing("postgres", "Keeping model versions in PostgreSQL"):
            from housepredict.adapters.postgres.models import PostgresModels
        from housepredict.adapters.shared_models import SharedModels

        return SharedModels(self._resources.enter_context(closing(PostgresModels.at(self._shared))), own)

    @property
    def _shared(self) -> str | None:
        """The database in which model versions and the log of trainings are; None if they are in the folder."""
        url = self.settings.database_url
        return None if url == IN_MEMORY or self.settings.models == "folder" else url

    @cached_property
    def training_log(self) -> TrainingLog:
        """Where trainings are told of: where model versions are kept, so that the lock there proves it true."""
        if self._shared is None:
            from housepredict.adapters.directory_trainings import DirectoryTrainings

            return DirectoryTrainings(self.settings.data_dir / "models" / "trainings")
        with _needing("postgres", "Logging trainings in PostgreSQL"):
            from housepredict.adapters.postgres.trainings import PostgresTrainings
        return PostgresTrainings.at(self._shared)

    @cached_property
    def models(self) -> ModelStore:
        """The model versions that are trusted: with a signing key, those that it signed."""
        keys = self.settings.signing_key
        return SignedModels(self.model_store, keys) if keys else self.model_store

    @cached_property
    def live_model(self) -> LiveModel:
        """The predictor in service."""
        from housepredict.adapters.serving.demonstration import load_demonstration
        from housepredict.adapters.serving.loader import load_predictor

        return LiveModel(self.models, load_predictor, load_demonstration() if self.settings.demo else None)

    @cached_property
    def predictions(self) -> PredictionRepository:
        """Where predictions are remembered. Raises RepositoryUnavailable if it cannot be opened."""
        if self.settings.database_url == IN_MEMORY:
            return InMemoryPredictions()
        if self.settings.database_url is None:
            from housepredict.adapters.sqlite import SqlitePredictions

            return self._resources.enter_context(SqlitePredictions.open(self.settings.data_dir / "predictions.sqlite"))
        with _needing("postgres", "Keeping predictions in PostgreSQL"):
            from housepredict.adapters.postgres.repository import PostgresPredictions
        from housepredict.adapters.spooled import SpooledPredictions
        from housepredict.adapters.sqlite_spool import SqliteSpool

        spool = SqliteSpool.open(self.settings.data_dir / "spool.sqlite", max_rows=self.settings.spool_rows)
        behind = partial(PostgresPredictions.open, self.settings.database_url, timeout=POSTGRES_PATIENCE)
        return self._resources.enter_context(SpooledPredictions.open(spool, behind))

    def backlog(self) -> Backlog | None:
        """What has not reached the database yet; None where nothing ever waits. Raises RepositoryUnavailable."""
        return self.predictions.backlog() if isinstance(self.predictions, Backlogged) else None

    @cached_property
    def predict(self) -> Predict:
        """The use case behind every estimate."""
        return Predict(self.live_model, self.predictions, SystemClock(), self.settings.max_batch, self._ids)

    @cached_property
    def explain(self) -> Explain:
        """The use case behind every estimate that is to be explained."""
        from housepredict.adapters.serving.demonstration import load_demonstration_explainer
        from housepredict.adapters.serving.explainer import load_explainer
        from housepredict.adapters.stored_explainers import StoredExplainers

        demonstration = load_demonstration_explainer() if self.settings.demo else None
        explainers = StoredExplainers(self.models, load_explainer, demonstration)
        return Explain(
            self.live_model,
            self.predictions,
            SystemClock(),
            self.settings.max_batch,
            self._ids,
            explainers=explainers,
        )

    @cached_property
    def train(self) -> Train:
        """The use case behind every training. Raises MissingExtra without scikit-learn."""
        from housepredict.adapters.serving.loader import load_predictor

        return Train(_trainer(), load_predictor, self.models, sales_at, SystemClock(), self.trainings)

    @cached_property
    def trainings(self) -> Trainings:
        """Trainings under way and over, whoever started them."""
        return Trainings(self.models, self.training_log, SystemClock())

    @cached_property
    def training_jobs(self) -> TrainingJobs:
        """How the service trains: beside itself."""
        from housepredict.entrypoints.training_jobs import TrainingProcesses

        return TrainingProcesses(self)

    def version(self, name: str) -> ModelVersion:
        """A version that is kept, or the demonstration. Raises UnknownModel, RefusedModel or ModelStoreUnavailable."""
        if self.settings.demo:
            from housepredict.adapters.serving.demonstration import load_demonstration

            if (demonstration := load_demonstration().version).name == name:
                return demonstration
        return self.models.get(name)[0]

    @cached_property
    def promote(self) -> Promote:
        """The use case behind every decision about which version serves."""
        from housepredict.adapters.serving.loader import load_predictor

        return Promote(load_predictor, self.models)

    def close(self) -> None:
        """Close whatever was opened."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sales_at(location: str | None) -> SalesSource:
    """The sales at a path; the synthetic ones if there is none."""
    if location is None:
        from housepredict.adapters.synthetic import SyntheticSales

        return SyntheticSales()
    from housepredict.adapters.sales_files import SalesFile

    return SalesFile(Path(location))


def _trainer() -> Trainer:
    with _needing("train", "Training"):
        from housepredict.adapters.sklearn_model.trainer import SklearnTrainer
    return SklearnTrainer()


@contextmanager
def _needing(extra: str, purpose: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtra.named(extra, purpose) from error
