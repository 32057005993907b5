"""The composition root, which builds the use cases from the settings. Only this module chooses adapters."""

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

# Functions that need no wiring; other entrypoints import them from here.
from housepredict.adapters.documents import encode_objects as encode_objects
from housepredict.adapters.files.house_file import read_houses_csv as read_houses_csv
from housepredict.adapters.files.price_file import NUMBERS as NUMBERS
from housepredict.adapters.files.price_file import PREDICTION_COLUMNS as PREDICTION_COLUMNS
from housepredict.adapters.files.price_file import PRICE_COLUMNS as PRICE_COLUMNS
from housepredict.adapters.files.price_file import cells_of as cells_of
from housepredict.adapters.files.price_file import predictions_to_csv as predictions_to_csv
from housepredict.adapters.files.price_file import write_csv as write_csv
from housepredict.adapters.files.sales_file import read_sales_csv as read_sales_csv
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.guarded_stores import SignedModels
from housepredict.adapters.live_model import CheckedLoader, Follower, LiveModel
from housepredict.adapters.memory import InMemoryKeys, InMemoryPredictions, InMemorySales
from housepredict.adapters.system import SystemClock, defer_interrupts
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


def output_ending(path: Path | None, *endings: str) -> str:
    """Return which of `endings` the name of an output file ends with, ignoring case.

    Pipes and devices may have any name. If their name has none of the endings, or if `path` is None (standard output),
    the first ending is returned.

    Raises:
        InvalidSettings: if the name of a regular file has none of these endings.
    """
    name = path.name.lower() if path else ""
    for ending in endings:
        if name.endswith(ending):
            return ending
    # unlike the methods of Path, these functions never raise
    if path and (os.path.isfile(path) or not os.path.exists(path)):  # noqa: PTH110, PTH113
        *others, last = endings
        raise InvalidSettings([f"the name of the output file {path} must end with {', '.join(others)} or {last}"])
    return endings[0]


POSTGRES_TIMEOUT_S = 1.0
"""How many seconds an estimate waits for PostgreSQL.

After that, the estimate is stored in the spool. If the request has an idempotency key, it fails instead.
"""


@define(slots=False)
class Storage:
    """The repositories and stores that the settings select. Each one is imported and opened on first use.

    To use a different adapter, assign it to the corresponding attribute, such as `sales`, before that attribute is
    first read.
    """

    _settings: Settings
    _resources: ExitStack = field(factory=ExitStack, repr=False)

    @cached_property
    def models(self) -> ModelStore:
        """The store of trusted model versions.

        If there are signing keys, only versions signed with one of them are trusted. Otherwise, all versions are
        trusted.
        """
        keys = self._settings.signing_key
        return SignedModels(self.model_store, keys) if keys else self.model_store

    @cached_property
    def model_store(self) -> ModelStore:
        """The store of all model versions, signed or not."""
        local = DirectoryModels(self._model_folder)
        if not self._model_database:
            return local
        from housepredict.adapters.guarded_stores import SharedModels
        from housepredict.adapters.postgres.model_store import PostgresModels

        return SharedModels(PostgresModels(self._model_database), local)

    def announcements(self) -> PostgresAnnouncements | None:
        """Return a source of promotion announcements, or None if the promoted version must be polled."""
        if not self._model_database:
            return None
        from housepredict.adapters.postgres.persistent_connection import PostgresAnnouncements

        return PostgresAnnouncements(self._model_database)

    @cached_property
    def training_log(self) -> TrainingLog:
        """The training log, stored in the same place as the model versions.

        Whether a training job is running is shown by the training lock, which belongs to the model store.
        """
        if not self._model_database:
            from housepredict.adapters.folder.training_log import DirectoryTrainings

            return DirectoryTrainings(self._model_folder / "trainings")
        from housepredict.adapters.postgres.training_log import PostgresTrainings

        return PostgresTrainings(self._model_database)

    @cached_property
    def predictions(self) -> PredictionRepository:
        """The repository of predictions.

        Raises:
            RepositoryUnavailable: if the repository can't be opened.
            UnusableDatabase: if the database URL is invalid or names an unsupported kind of database.
            UnusablePlugin: if the repository is a plug-in that can't be used.
        """
        url = self._settings.database_url
        if url == IN_MEMORY:
            return InMemoryPredictions()
        if url is None:
            from housepredict.adapters.sqlite.predictions import SqlitePredictions

            return self._resources.enter_context(SqlitePredictions.open(self._settings.data_dir / "predictions.sqlite"))
        if self._settings.postgres_url is None:
            open_: RepositoryOpener = load(REPOSITORIES, scheme_of(url))
            return self._resources.enter_context(open_(url))
        with require_extra("postgres", "Storing predictions in PostgreSQL"):
            from housepredict.adapters.postgres.predictions import PostgresPredictions
        from housepredict.adapters.spool import SpooledPredictions
        from housepredict.adapters.sqlite.spool_file import SqliteSpool

        spool = SqliteSpool.open(self._settings.data_dir / "spool.sqlite", max_rows=self._settings.spool_rows)
        open_postgres = partial(
            PostgresPredictions.open,
            url,
            direct=self._settings.database_direct_url,
            schema=self._settings.database_schema,
            timeout=POSTGRES_TIMEOUT_S,
        )
        return self._resources.enter_context(SpooledPredictions.open(spool, open_postgres, fatal=(UnusableDatabase,)))

    @cached_property
    def sales(self) -> SaleRepository:
        """The repository of recorded sales. If a plug-in stores predictions, sales are stored in the data directory.

        Raises:
            RepositoryUnavailable: if the repository can't be opened.
        """
        if self._settings.database_url == IN_MEMORY:
            return InMemorySales()
        if self._settings.postgres_url is None:
            from housepredict.adapters.sqlite.recorded_sales import SqliteSales

            return self._resources.enter_context(SqliteSales.open(self._settings.data_dir / "sales.sqlite"))
        with require_extra("postgres", "Storing sales in PostgreSQL"):
            from housepredict.adapters.postgres.recorded_sales import PostgresSales

        return self._resources.enter_context(
            closing(PostgresSales.at(self._server, schema=self._settings.database_schema))
        )

    @cached_property
    def prediction_keys(self) -> PredictionKeys:
        """The store of idempotency keys for predictions. The keys are stored in the same place as recorded sales.

        Raises:
            RepositoryUnavailable: if the store can't be opened.
        """
        if self._settings.database_url == IN_MEMORY:
            return InMemoryKeys()
        if self._settings.postgres_url is None:
            from housepredict.adapters.sqlite.prediction_keys import SqliteKeys

            return self._resources.enter_context(SqliteKeys.open(self._settings.data_dir / "keys.sqlite"))
        with require_extra("postgres", "Storing idempotency keys in PostgreSQL"):
            from housepredict.adapters.postgres.prediction_keys import PostgresKeys

        keys = PostgresKeys.at(self._server, POSTGRES_TIMEOUT_S, schema=self._settings.database_schema)
        return self._resources.enter_context(closing(keys))

    @property
    def _server(self) -> str:
        """The URL for direct connections to PostgreSQL, which bypass a connection pooler.

        Direct connections are used for locks, LISTEN and infrequent statements.
        """
        return self._settings.database_direct_url or self._settings.database_url or ""

    @property
    def _model_folder(self) -> Path:
        return self._settings.data_dir / "models"

    @cached_property
    def _model_database(self) -> ModelDatabase | None:
        """The database that stores model versions and the training log, or None if they are in the data directory."""
        if self._settings.postgres_url is None or self._settings.models == "folder":
            return None
        with require_extra("postgres", "Storing model versions in PostgreSQL"):
            from housepredict.adapters.postgres.persistent_connection import ModelDatabase
        database = ModelDatabase.at(self._server, schema=self._settings.database_schema)
        return self._resources.enter_context(closing(database))

    def migrate(self, seconds: float, *, post: bool = False) -> bool:
        """Apply migrations to PostgreSQL.

        Args:
            seconds: how many seconds to wait for PostgreSQL to respond.
            post: whether to also apply the migrations that remove tables and columns used only by earlier releases.

        Returns:
            Whether predictions are stored in PostgreSQL. If not, there is nothing to migrate.

        Raises:
            RepositoryUnavailable: if PostgreSQL can't be reached.
            MisconfiguredRepository: if the tables belong to another role.
        """
        if self._settings.postgres_url is None:
            return False
        with require_extra("postgres", "Migrating a database"):
            from housepredict.adapters.postgres.migrations import migrate_once_it_answers

        migrate_once_it_answers(self._server, seconds, schema=self._settings.database_schema, post=post)
        return True

    def close(self) -> None:
        """Close all open repositories and stores."""
        self._resources.close()


@contextmanager
def require_extra(extra: str, purpose: str) -> Iterator[None]:
    """Convert an ImportError to MissingExtra. `purpose` is what the extra is needed for."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra.named(extra, purpose) from error


@define(slots=False)
class Application:
    """The use cases, for the HTTP app, the command line and the Python API.

    Each use case is created on first use, because that takes time and may require an extra. For example, the first
    prediction opens the database, and the first training run imports scikit-learn.
    """

    settings: Settings
    storage: Storage = field(default=Factory(lambda application: Storage(application.settings), takes_self=True))
    _resources: ExitStack = field(factory=ExitStack, repr=False)
    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @cached_property
    def predict(self) -> Predict:
        """The use case for estimating houses."""
        return Predict(self.live_model, self.storage.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def explain(self) -> Explain:
        """The use case for estimating houses with explanations."""
        from housepredict.adapters.live_model import StoredExplainers

        demonstration = None
        if self.settings.demo:
            from housepredict.adapters.serving.demonstration import load_demonstration_explainer

            demonstration = load_demonstration_explainer()
        return Explain(self.predict, StoredExplainers(self.models, self._load_explainer, demonstration))

    @cached_property
    def predict_once(self) -> PredictOnce:
        """The use case for estimating houses at most once per idempotency key."""
        return PredictOnce(self.predict, self.storage.predictions, self.storage.prediction_keys)

    @cached_property
    def estimate_table(self) -> EstimateTable:
        """The use case for estimating the houses in a file."""
        return EstimateTable(self.live_model, self.predict, self.settings.max_batch)

    @cached_property
    def records(self) -> Records:
        """The use case for reading and deleting stored predictions."""
        return Records(self.storage.predictions, self.storage.sales, self.clock, self.storage.prediction_keys)

    @cached_property
    def record_sales(self) -> RecordSales:
        """The use case for recording realized sales."""
        storage = self.storage
        return RecordSales(storage.sales, storage.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def review_accuracy(self) -> ReviewAccuracy:
        """The use case for measuring the accuracy of estimates against realized sales."""
        return ReviewAccuracy(self.storage.sales, self.storage.predictions)

    @cached_property
    def review_drift(self) -> ReviewDrift:
        """The use case for measuring how far recent predictions have drifted from the training data."""
        return ReviewDrift(self.live_model, self.models, self.storage.predictions)

    @cached_property
    def train(self) -> Train:
        """The use case for training model versions.

        Raises:
            MissingExtra: if scikit-learn isn't installed.
        """
        with require_extra("train", "Training"):
            from housepredict.adapters.training.trainer import SklearnTrainer
        trainer, load = SklearnTrainer(), self.load_predictor
        return Train(
            trainer, load, self.models, self.sales_source, self.clock, self.trainings, defer_interrupts, RECORD_FIELDS
        )

    @cached_property
    def trainings(self) -> TrainingHistory:
        """The use case for listing and cancelling training jobs."""
        return TrainingHistory(self.models, self.storage.training_log, self.clock)

    @cached_property
    def training_jobs(self) -> TrainingJobs:
        """The launcher of training jobs for the service. It runs them in separate processes."""
        from housepredict.entrypoints.training_processes import TrainingProcesses

        jobs = TrainingProcesses(self.settings, self.trainings, self.live_model.look)
        return self._resources.enter_context(closing(jobs))

    @cached_property
    def promote(self) -> Promote:
        """The use case for promoting a model version and for rolling back."""
        return Promote(self.load_predictor, self.models)

    @property
    def models(self) -> ModelStore:
        """The store of trusted model versions (see `Storage.models`)."""
        return self.storage.models

    @cached_property
    def live_model(self) -> LiveModel:
        """The model version in service, and its predictor."""
        return LiveModel(self.models, self.load_predictor, self._demonstration)

    @cached_property
    def _demonstration(self) -> Predictor | None:
        if not self.settings.demo:
            return None
        from housepredict.adapters.serving.demonstration import load_demonstration

        return load_demonstration()

    @cached_property
    def clock(self) -> Clock:
        """The system clock."""
        return SystemClock()

    @cached_property
    def load_predictor(self) -> PredictorLoader:
        """The function that loads predictors for model versions.

        Raises:
            UnusablePlugin: if the settings name a plug-in that can't be used.
        """
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
        """Return a thread that checks for promotions, updates `live_model`, and calls `publish` after each check."""
        return Follower(self.live_model, publish, self.storage.announcements())

    def version(self, name: str) -> ModelVersion:
        """Return the model version with this name, which may be the demonstration model.

        Raises:
            UnknownModel: if there is no such version.
            RefusedModel: if the version failed a check.
            ModelStoreUnavailable: if the model store can't be read.
        """
        if self._demonstration and self._demonstration.version.name == name:
            return self._demonstration.version
        return self.models.get(name)[0]

    def run_training(self, request: TrainingRequest, begun: StartListener) -> None:
        """Train a model version for the service.

        The version is not promoted if it can't be compared with the promoted version.

        `begun` is called with the id of the training run once the run has acquired the lock and has been logged.

        Raises:
            HousepredictError: if the training run fails.
        """
        if request.again is not None:
            self.train.retrain(self.version(request.again), no_progress, begun=begun)
            return
        source, options = self.sales_to_train_on(request.location, request.options, with_recorded=request.with_recorded)
        self.train(source, options, no_progress, request.policy, if_incomparable=False, begun=begun)

    def sales_to_train_on(
        self, location: str | None, options: TrainingOptions, *, with_recorded: bool
    ) -> tuple[SalesSource, TrainingOptions]:
        """Return the source of training sales, and the options to train with.

        Args:
            location: the path of the sales file. If it is None and recorded sales are used, it defaults to the sales
                file of the promoted version, if that file still exists.
            options: the training options. If they equal the defaults and the promoted version's sales file is used,
                that version's options are returned instead.
            with_recorded: whether to use recorded sales, too.

        Raises:
            NoModel: if there are only recorded sales, and no version is in service.
            RefusedModel: if the promoted version failed a check.
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
        """Return the source of training sales (see SalesSources).

        Args:
            location: the path of the sales file, or None. Without a sales file, the source contains either only the
                recorded sales, with the schema of the version in service, or else the synthetic sales.
            options: the training options.
            with_recorded: whether to use the recorded sales, in addition to the sales file if there is one.

        Raises:
            NoModel: if there are only recorded sales, and no version is in service.
            RefusedModel: if the promoted version failed a check.
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
        """Whether Parquet files can be read, which requires pyarrow."""
        return find_spec("pyarrow") is not None

    def close(self) -> None:
        """Close the training jobs, repositories and stores."""
        self._resources.close()
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sales_at(location: str | None, encoding: str | None = None) -> SalesSource:
    """Return the sales in the file at `location`, or the synthetic sales if `location` is None.

    `encoding` is the text encoding of the file, or None to detect it.
    """
    if location is None:
        from housepredict.adapters.files.sales_file import SyntheticSales

        return SyntheticSales()
    from housepredict.adapters.files.sales_file import SalesFile

    return SalesFile(Path(location), encoding)


def houses_at(path: Path, encoding: str | None = None) -> HouseTable:
    """Return the table of houses in a file. `encoding` is the text encoding, or None to detect it."""
    from housepredict.adapters.files.house_file import HouseFile

    return HouseFile(path, encoding)


def open_price_output(path: Path | None) -> AbstractContextManager[PriceTable]:
    """Open a file for writing prices, or standard output if `path` is None.

    The file is created when the context exits.

    Raises:
        InvalidSettings: if the file name has an unknown ending.
    """
    from housepredict.adapters.files.price_file import price_file

    return price_file(path, parquet=output_ending(path, ".csv", ".csv.gz", ".parquet") == ".parquet")


def open_text_output(path: Path | None) -> AbstractContextManager[IO[str]]:
    """Open a file for writing text, or standard output if `path` is None.

    The file is created when the context exits.
    """
    from housepredict.adapters.files.atomic import text_file

    return text_file(path)
