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
from housepredict.adapters.directory_processes import DirectoryProcesses
from housepredict.adapters.follower import Follower
from housepredict.adapters.live_model import LiveModel
from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.memory_sales import InMemorySales
from housepredict.adapters.signed_models import SignedModels
from housepredict.domain.combined_sales import CombinedSales
from housepredict.domain.errors import MissingExtra
from housepredict.domain.features import FeatureSchema
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import TrainingOptions
from housepredict.domain.ports import (
    Backlog,
    Backlogged,
    LiveProcesses,
    ModelStore,
    PredictionRepository,
    SaleRepository,
    SalesSource,
    Trainer,
)
from housepredict.domain.usecases import Explain, Predict, Promote, RecordSales, ReviewAccuracy, ReviewDrift, Train
from housepredict.entrypoints.settings import IN_MEMORY, Settings

if TYPE_CHECKING:
    from housepredict.adapters.postgres.model_database import ModelDatabase

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
        own = DirectoryModels(self._model_folder)
        if not self._model_database:
            return own
        from housepredict.adapters.postgres.models import PostgresModels
        from housepredict.adapters.shared_models import SharedModels

        return SharedModels(PostgresModels(self._model_database), own)

    @cached_property
    def live_processes(self) -> LiveProcesses:
        """Who serves from these model versions."""
        if not self._model_database:
            return DirectoryProcesses(self._model_folder / "processes")
        from housepredict.adapters.postgres.processes import PostgresProcesses

        return PostgresProcesses(self._model_database)

    def follower(self) -> Follower:
        """Keeps `live_model` at what is promoted, from its start until it is closed."""
        announcements = None
        if self._model_database:
            from housepredict.adapters.postgres.announcements import PostgresAnnouncements

            announcements = PostgresAnnouncements(self._model_database)
        return Follower(self.live_model, self.live_processes, announcements)

    @property
    def _model_folder(self) -> Path:
        return self.settings.data_dir / "models"

    @cached_property
    def _model_database(self) -> ModelDatabase | None:
        if self.settings.database_url in (None, IN_MEMORY) or self.settings.models == "folder":
            return None
        with _needing("postgres", "Keeping model versions in PostgreSQL"):
            from housepredict.adapters.postgres.model_database import ModelDatabase
        return self._resources.enter_context(closing(ModelDatabase.at(self.settings.database_url)))

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

    @cached_property
    def sales(self) -> SaleRepository:
        """Where the sales that come back are remembered: beside the predictions, and with PostgreSQL there alone.

        Raises RepositoryUnavailable if it cannot be opened.
        """
        if self.settings.database_url == IN_MEMORY:
            return InMemorySales()
        if self.settings.database_url is None:
            from housepredict.adapters.sqlite_sales import SqliteSales

            return self._resources.enter_context(SqliteSales.open(self.settings.data_dir / "sales.sqlite"))
        with _needing("postgres", "Keeping sales in PostgreSQL"):
            from housepredict.adapters.postgres.sales import PostgresSales

        return self._resources.enter_context(closing(PostgresSales.at(self.settings.database_url)))

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
    def record_sales(self) -> RecordSales:
        """The use case behind every sale that comes back."""
        return RecordSales(self.sales, self.predictions, SystemClock(), self.settings.max_batch, self._ids)

    @cached_property
    def review_accuracy(self) -> ReviewAccuracy:
        """The use case behind every look at how far estimates were off."""
        return ReviewAccuracy(self.sales, self.predictions)

    @cached_property
    def train(self) -> Train:
        """The use case behind every training. Raises MissingExtra without scikit-learn."""
        from housepredict.adapters.serving.loader import load_predictor

        return Train(_trainer(), load_predictor, self.models, self.sales_source, SystemClock())

    def sales_source(self, location: str | None, with_recorded: TrainingOptions | None = None) -> SalesSource:
        """The sales at a path, the synthetic ones if there is none; see SalesSources. Raises as `live_model` does for
        recorded sales without a path, whose columns are those of the version in service.
        """
        if with_recorded is None:
            return sales_at(location)
        file = None if location is None else sales_at(location)
        schema = self.live_model.current().version.schema if file is None else FeatureSchema(())
        return CombinedSales(file, schema, self.sales, self.predictions, with_recorded)

    @cached_property
    def promote(self) -> Promote:
        """The use case behind every decision about which version serves."""
        from housepredict.adapters.serving.loader import load_predictor

        return Promote(load_predictor, self.models)

    @cached_property
    def review_drift(self) -> ReviewDrift:
        """The use case that compares recent predictions with what the version in service was trained on."""
        return ReviewDrift(self.live_model, self.models, self.predictions)

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
