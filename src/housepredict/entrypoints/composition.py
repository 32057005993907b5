"""The composition root: settings to use cases, and the only place that chooses adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from attrs import Factory, define, field

# Functions of whole tables need no wiring: other entrypoints import them from here.
from housepredict.adapters.documents import encode_each as encode_each
from housepredict.adapters.files.house_file import houses_of_csv as houses_of_csv
from housepredict.adapters.files.price_file import NUMBERS as NUMBERS
from housepredict.adapters.files.price_file import PREDICTION_COLUMNS as PREDICTION_COLUMNS
from housepredict.adapters.files.price_file import PRICE_COLUMNS as PRICE_COLUMNS
from housepredict.adapters.files.price_file import cells_of as cells_of
from housepredict.adapters.files.price_file import csv_of as csv_of
from housepredict.adapters.files.price_file import write_csv as write_csv
from housepredict.adapters.files.sales_file import recorded_sales_of_csv as recorded_sales_of_csv
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.guarded_stores import SignedModels
from housepredict.adapters.live_model import CheckedLoader, Follower, LiveModel
from housepredict.adapters.memory import InMemoryKeys, InMemoryPredictions, InMemorySales
from housepredict.adapters.system import SystemClock, held_back
from housepredict.domain.combined_sales import CombinedSales
from housepredict.domain.errors import InvalidSettings, MissingExtra, UnusableDatabase
from housepredict.domain.features import FeatureSchema
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.ports import (
    Clock,
    Explainer,
    HouseTable,
    ModelStore,
    PredictionKeys,
    PredictionRepository,
    Predictor,
    PredictorLoader,
    PriceTable,
    RepositoryOpener,
    SaleRepository,
    SalesSource,
    TrainingLog,
    no_progress,
)
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.usecases.estimate_table import EstimateTable
from housepredict.domain.usecases.manage_records import Records
from housepredict.domain.usecases.predict import Explain, Predict, PredictOnce
from housepredict.domain.usecases.record_sales import RecordSales
from housepredict.domain.usecases.review import ReviewAccuracy, ReviewDrift
from housepredict.domain.usecases.train import Promote, Train
from housepredict.domain.usecases.training_history import StartListener, TrainingHistory
from housepredict.entrypoints.answers import RECORD_FIELDS
from housepredict.entrypoints.plugins import PREDICTORS, REPOSITORIES, load
from housepredict.entrypoints.settings import IN_MEMORY, Settings, scheme_of

if TYPE_CHECKING:
    from housepredict.adapters.postgres.persistent_connection import ModelDatabase, PostgresAnnouncements
    from housepredict.adapters.serving.loader import SharedForms
    from housepredict.entrypoints.training_processes import TrainingJobs, TrainingRequest


def ending_of(path: Path | None, *endings: str) -> str:
    """The one of `endings` that the name of an output has, in any case of letters.

    The first is that of standard output (None), a pipe and a device. Raises InvalidSettings.
    """
    name = path.name.lower() if path else ""
    for ending in endings:
        if name.endswith(ending):
            return ending
    # unlike those of Path these never raise
    if path and (os.path.isfile(path) or not os.path.exists(path)):  # noqa: PTH110, PTH113
        *others, last = endings
        raise InvalidSettings([f"the name of the output {path} must end with {', '.join(others)} or {last}"])
    return endings[0]


POSTGRES_PATIENCE = 1.0
"""Seconds that PostgreSQL has for an answer to an estimate; then the spool takes it, or a request with a key fails."""


@define(slots=False)
class Storage:
    """The repositories and stores that the settings name. Each is imported and opened with its first use.

    Assign an adapter to an attribute before that to use it instead.
    """

    _settings: Settings
    _resources: ExitStack = field(factory=ExitStack, repr=False)

    @cached_property
    def models(self) -> ModelStore:
        """The trusted model versions: with a signing key, those that it signed."""
        keys = self._settings.signing_key
        return SignedModels(self.model_store, keys) if keys else self.model_store

    @cached_property
    def model_store(self) -> ModelStore:
        """All model versions, signed or not."""
        own = DirectoryModels(self._model_folder)
        if not self._model_database:
            return own
        from housepredict.adapters.guarded_stores import SharedModels
        from housepredict.adapters.postgres.model_store import PostgresModels

        return SharedModels(PostgresModels(self._model_database), own)

    def announcements(self) -> PostgresAnnouncements | None:
        """The announcements of promotions; None if the pointer must be polled."""
        if not self._model_database:
            return None
        from housepredict.adapters.postgres.persistent_connection import PostgresAnnouncements

        return PostgresAnnouncements(self._model_database)

    @cached_property
    def training_log(self) -> TrainingLog:
        """The training log. It is beside the model versions, whose lock proves that a training is under way."""
        if not self._model_database:
            from housepredict.adapters.folder.training_log import DirectoryTrainings

            return DirectoryTrainings(self._model_folder / "trainings")
        from housepredict.adapters.postgres.training_log import PostgresTrainings

        return PostgresTrainings(self._model_database)

    @cached_property
    def predictions(self) -> PredictionRepository:
        """The repository of predictions. Raises RepositoryUnavailable, UnusableDatabase or UnusablePlugin."""
        url = self._settings.database_url
        if url == IN_MEMORY:
            return InMemoryPredictions()
        if url is None:
            from housepredict.adapters.sqlite.predictions import SqlitePredictions

            return self._resources.enter_context(SqlitePredictions.open(self._settings.data_dir / "predictions.sqlite"))
        if self._settings.postgres_url is None:
            open_: RepositoryOpener = load(REPOSITORIES, scheme_of(url))
            return self._resources.enter_context(open_(url))
        with needing("postgres", "Keeping predictions in PostgreSQL"):
            from housepredict.adapters.postgres.predictions import PostgresPredictions
        from housepredict.adapters.spool import SpooledPredictions
        from housepredict.adapters.sqlite.spool_file import SqliteSpool

        spool = SqliteSpool.open(self._settings.data_dir / "spool.sqlite", max_rows=self._settings.spool_rows)
        behind = partial(
            PostgresPredictions.open,
            url,
            direct=self._settings.database_direct_url,
            schema=self._settings.database_schema,
            timeout=POSTGRES_PATIENCE,
        )
        return self._resources.enter_context(SpooledPredictions.open(spool, behind, fatal=(UnusableDatabase,)))

    @cached_property
    def sales(self) -> SaleRepository:
        """The repository of recorded sales: in PostgreSQL or in memory if the predictions are there, else in the data
        folder. Raises RepositoryUnavailable.
        """
        if self._settings.database_url == IN_MEMORY:
            return InMemorySales()
        if self._settings.postgres_url is None:
            from housepredict.adapters.sqlite.recorded_sales import SqliteSales

            return self._resources.enter_context(SqliteSales.open(self._settings.data_dir / "sales.sqlite"))
        with needing("postgres", "Keeping sales in PostgreSQL"):
            from housepredict.adapters.postgres.recorded_sales import PostgresSales

        return self._resources.enter_context(
            closing(PostgresSales.at(self._server, schema=self._settings.database_schema))
        )

    @cached_property
    def prediction_keys(self) -> PredictionKeys:
        """The idempotency keys of predictions, beside the sales. Raises RepositoryUnavailable."""
        if self._settings.database_url == IN_MEMORY:
            return InMemoryKeys()
        if self._settings.postgres_url is None:
            from housepredict.adapters.sqlite.prediction_keys import SqliteKeys

            return self._resources.enter_context(SqliteKeys.open(self._settings.data_dir / "keys.sqlite"))
        with needing("postgres", "Keeping keys in PostgreSQL"):
            from housepredict.adapters.postgres.prediction_keys import PostgresKeys

        keys = PostgresKeys.at(self._server, POSTGRES_PATIENCE, schema=self._settings.database_schema)
        return self._resources.enter_context(closing(keys))

    @property
    def _server(self) -> str:
        """The URL of PostgreSQL itself, not of a pool in front of it: for locks, for LISTEN and for rare statements."""
        return self._settings.database_direct_url or self._settings.database_url or ""

    @property
    def _model_folder(self) -> Path:
        return self._settings.data_dir / "models"

    @cached_property
    def _model_database(self) -> ModelDatabase | None:
        """The database of model versions and the training log; None if they are in the folder."""
        if self._settings.postgres_url is None or self._settings.models == "folder":
            return None
        with needing("postgres", "Keeping model versions in PostgreSQL"):
            from housepredict.adapters.postgres.persistent_connection import ModelDatabase
        database = ModelDatabase.at(self._server, schema=self._settings.database_schema)
        return self._resources.enter_context(closing(database))

    def migrate(self, seconds: float, *, post: bool = False) -> bool:
        """Apply migrations to PostgreSQL. Returns whether the settings name one.

        Args:
            seconds: how long to wait for PostgreSQL to answer.
            post: also apply the migrations that remove what only earlier releases use.

        Raises:
            RepositoryUnavailable: if PostgreSQL can't be reached.
            MisconfiguredRepository: if the tables belong to another role.
        """
        if self._settings.postgres_url is None:
            return False
        with needing("postgres", "Bringing a database up to date"):
            from housepredict.adapters.postgres.migrations import migrate_once_it_answers

        migrate_once_it_answers(self._server, seconds, schema=self._settings.database_schema, post=post)
        return True

    def close(self) -> None:
        """Close all that was opened."""
        self._resources.close()


@contextmanager
def needing(extra: str, purpose: str) -> Iterator[None]:
    """Raise MissingExtra where an import fails."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra.named(extra, purpose) from error


@define(slots=False)
class Application:
    """The use cases: the service that the HTTP app, the command line and the Python API call.

    Each is made with its first use, since it takes time and an extra: NumPy for the first model, the database for the
    first prediction, scikit-learn for the first training.
    """

    settings: Settings
    storage: Storage = field(default=Factory(lambda application: Storage(application.settings), takes_self=True))
    _resources: ExitStack = field(factory=ExitStack, repr=False)
    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @cached_property
    def predict(self) -> Predict:
        """Estimates houses."""
        return Predict(self.live_model, self.storage.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def explain(self) -> Explain:
        """Estimates houses, and explains the estimates."""
        from housepredict.adapters.live_model import StoredExplainers

        demonstration = None
        if self.settings.demo:
            from housepredict.adapters.serving.demonstration import load_demonstration_explainer

            demonstration = load_demonstration_explainer()
        return Explain(self.predict, StoredExplainers(self.models, self._load_explainer, demonstration))

    @cached_property
    def predict_once(self) -> PredictOnce:
        """Estimates houses once for an idempotency key."""
        return PredictOnce(self.predict, self.storage.predictions, self.storage.prediction_keys)

    @cached_property
    def estimate_table(self) -> EstimateTable:
        """Estimates the houses of a file."""
        return EstimateTable(self.live_model, self.predict, self.settings.max_batch)

    @cached_property
    def records(self) -> Records:
        """Reads and deletes stored predictions."""
        return Records(self.storage.predictions, self.storage.sales, self.clock, self.storage.prediction_keys)

    @cached_property
    def record_sales(self) -> RecordSales:
        """Records realized sales."""
        storage = self.storage
        return RecordSales(storage.sales, storage.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def review_accuracy(self) -> ReviewAccuracy:
        """Measures estimates by realized sales."""
        return ReviewAccuracy(self.storage.sales, self.storage.predictions)

    @cached_property
    def review_drift(self) -> ReviewDrift:
        """Compares recent predictions with the training data of the version in service."""
        return ReviewDrift(self.live_model, self.models, self.storage.predictions)

    @cached_property
    def train(self) -> Train:
        """Trains model versions. Raises MissingExtra without scikit-learn."""
        with needing("train", "Training"):
            from housepredict.adapters.training.trainer import SklearnTrainer
        trainer, load = SklearnTrainer(), self.load_predictor
        return Train(
            trainer, load, self.models, self.sales_source, self.clock, self.trainings, held_back, RECORD_FIELDS
        )

    @cached_property
    def trainings(self) -> TrainingHistory:
        """Lists and cancels trainings."""
        return TrainingHistory(self.models, self.storage.training_log, self.clock)

    @cached_property
    def training_jobs(self) -> TrainingJobs:
        """Starts trainings for the service, in processes of their own."""
        from housepredict.entrypoints.training_processes import TrainingProcesses

        jobs = TrainingProcesses(self.settings, self.trainings, self.live_model.look)
        return self._resources.enter_context(closing(jobs))

    @cached_property
    def promote(self) -> Promote:
        """Promotes a version, and rolls back."""
        return Promote(self.load_predictor, self.models)

    @property
    def models(self) -> ModelStore:
        """The trusted model versions, to read."""
        return self.storage.models

    @cached_property
    def live_model(self) -> LiveModel:
        """The predictor in service."""
        return LiveModel(self.models, self.load_predictor, self._demonstration)

    @cached_property
    def _demonstration(self) -> Predictor | None:
        if not self.settings.demo:
            return None
        from housepredict.adapters.serving.demonstration import load_demonstration

        return load_demonstration()

    @cached_property
    def clock(self) -> Clock:
        """The system's clock."""
        return SystemClock()

    @cached_property
    def load_predictor(self) -> PredictorLoader:
        """Loads predictors of model versions. Raises UnusablePlugin."""
        if self.settings.predictor is None:
            from housepredict.adapters.serving.loader import load_predictor

            return partial(load_predictor, unpack=self._forms)
        return CheckedLoader(self.settings.predictor, load(PREDICTORS, self.settings.predictor))

    @cached_property
    def _forms(self) -> SharedForms:
        from housepredict.adapters.serving.loader import SharedForms

        return SharedForms()

    def _load_explainer(self, version: ModelVersion, artifact: Artifact) -> Explainer:
        from housepredict.adapters.serving.loader import load_explainer

        return load_explainer(version, artifact, unpack=self._forms)

    def follower(self, publish: Callable[[], None]) -> Follower:
        """A thread that keeps `live_model` at the promoted version, and calls `publish` after each look at it."""
        return Follower(self.live_model, publish, self.storage.announcements())

    def version(self, name: str) -> ModelVersion:
        """A model version, or the demonstration. Raises UnknownModel, RefusedModel or ModelStoreUnavailable."""
        if self._demonstration and self._demonstration.version.name == name:
            return self._demonstration.version
        return self.models.get(name)[0]

    def run_training(self, request: TrainingRequest, begun: StartListener) -> None:
        """Train as a service does: nobody is there to decide about a version that can't be compared with the champion.

        Raises what Train raises, UnknownModel if the version `again` does not exist, or MissingExtra.
        """
        if request.again is not None:
            self.train.again(self.version(request.again), no_progress, begun=begun)
            return
        source, options = self.sales_to_train_on(request.location, request.options, with_recorded=request.with_recorded)
        self.train(source, options, no_progress, request.policy, if_incomparable=False, begun=begun)

    def sales_to_train_on(
        self, location: str | None, options: TrainingOptions, *, with_recorded: bool
    ) -> tuple[SalesSource, TrainingOptions]:
        """The sales at a location, with the recorded ones if asked for, and the options to train with.

        Without a location, recorded sales are added to the file of the promoted version if that still exists, with its
        options if `options` are the defaults. Raises what `live_model` raises.
        """
        name = self.models.pointer().name if with_recorded and location is None else None
        if name:
            promoted, _ = self.models.get(name)
            file = promoted.source.location
            if file is not None and Path(file).is_file():
                location = file
                options = promoted.options if options == TrainingOptions() else options
        return self.sales_source(location, options, with_recorded), options

    def sales_source(self, location: str | None, options: TrainingOptions, with_recorded: bool) -> SalesSource:
        """The sales at a path, or the synthetic ones without a path; see SalesSources.

        Recorded sales without a path have the columns of the version in service; raises what `live_model` raises.
        """
        if not with_recorded:
            return sales_at(location, options.encoding)
        file = None if location is None else sales_at(location, options.encoding)
        schema = self.live_model.current().version.schema if file is None else FeatureSchema(())
        return CombinedSales(
            file, schema, self.storage.sales, self.storage.predictions, options, self.clock, RECORD_FIELDS
        )

    @cached_property
    def reads_parquet(self) -> bool:
        """Whether files of sales may be Parquet."""
        return find_spec("pyarrow") is not None

    def close(self) -> None:
        """Close all that was opened."""
        self._resources.close()
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sales_at(location: str | None, encoding: str | None = None) -> SalesSource:
    """The sales at a path; the synthetic ones without a path."""
    if location is None:
        from housepredict.adapters.files.sales_file import SyntheticSales

        return SyntheticSales()
    from housepredict.adapters.files.sales_file import SalesFile

    return SalesFile(Path(location), encoding)


def houses_at(path: Path, encoding: str | None = None) -> HouseTable:
    """The houses in a file."""
    from housepredict.adapters.files.house_file import HouseFile

    return HouseFile(path, encoding)


def prices_at(path: Path | None) -> AbstractContextManager[PriceTable]:
    """A file for prices, complete when the context is left; standard output without a path. Raises InvalidSettings for
    an unknown file name ending.
    """
    from housepredict.adapters.files.price_file import price_file

    return price_file(path, parquet=ending_of(path, ".csv", ".csv.gz", ".parquet") == ".parquet")


def text_at(path: Path | None) -> AbstractContextManager[IO[str]]:
    """A file for text, complete when the context is left; standard output without a path."""
    from housepredict.adapters.files.atomic import text_file

    return text_file(path)
