"""The composition root: with storage.py, the only place that names concrete adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from attrs import define, field

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
from housepredict.domain.models import Artefact, ModelVersion
from housepredict.domain.ports import (
    Backlog,
    Clock,
    Explainer,
    HasBacklog,
    HouseTable,
    ModelStore,
    PredictionKeys,
    PredictionRepository,
    PredictorLoader,
    PriceTable,
    RepositoryOpener,
    SaleRepository,
    SalesSource,
    Trainer,
    TrainingLog,
    no_progress,
)
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.usecases import (
    EstimateTable,
    Explain,
    OnStart,
    Predict,
    PredictOnce,
    Promote,
    Records,
    RecordSales,
    ReviewAccuracy,
    ReviewDrift,
    Train,
    Trainings,
)
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
    """The repositories and stores. What is not used is neither opened nor imported."""

    settings: Settings
    _resources: ExitStack = field(factory=ExitStack, repr=False)

    @cached_property
    def models(self) -> ModelStore:
        """The model versions that are trusted: with a signing key, those that it signed."""
        keys = self.settings.signing_key
        return SignedModels(self.model_store, keys) if keys else self.model_store

    @cached_property
    def model_store(self) -> ModelStore:
        """Where model versions are kept, whoever made them."""
        own = DirectoryModels(self._model_folder)
        if not self._model_database:
            return own
        from housepredict.adapters.guarded_stores import SharedModels
        from housepredict.adapters.postgres.model_store import PostgresModels

        return SharedModels(PostgresModels(self._model_database), own)

    def announcements(self) -> PostgresAnnouncements | None:
        """What announces promotions; None where the pointer must be polled."""
        if not self._model_database:
            return None
        from housepredict.adapters.postgres.persistent_connection import PostgresAnnouncements

        return PostgresAnnouncements(self._model_database)

    @cached_property
    def training_log(self) -> TrainingLog:
        """Where trainings are told of: where model versions are kept, so that the lock there proves it true."""
        if not self._model_database:
            from housepredict.adapters.folder.training_log import DirectoryTrainings

            return DirectoryTrainings(self._model_folder / "trainings")
        from housepredict.adapters.postgres.training_log import PostgresTrainings

        return PostgresTrainings(self._model_database)

    @cached_property
    def predictions(self) -> PredictionRepository:
        """Where predictions are stored.

        Raises RepositoryUnavailable if it cannot be opened, UnusableDatabase if that is so for good, or UnusablePlugin.
        """
        url = self.settings.database_url
        if url == IN_MEMORY:
            return InMemoryPredictions()
        if url is None:
            from housepredict.adapters.sqlite.predictions import SqlitePredictions

            return self._resources.enter_context(SqlitePredictions.open(self.settings.data_dir / "predictions.sqlite"))
        if self.settings.postgres_url is None:
            open_: RepositoryOpener = load(REPOSITORIES, scheme_of(url))
            return self._resources.enter_context(open_(url))
        with needing("postgres", "Keeping predictions in PostgreSQL"):
            from housepredict.adapters.postgres.predictions import PostgresPredictions
        from housepredict.adapters.spool import SpooledPredictions
        from housepredict.adapters.sqlite.spool_file import SqliteSpool

        spool = SqliteSpool.open(self.settings.data_dir / "spool.sqlite", max_rows=self.settings.spool_rows)
        behind = partial(
            PostgresPredictions.open,
            url,
            direct=self.settings.database_direct_url,
            schema=self.settings.database_schema,
            timeout=POSTGRES_PATIENCE,
        )
        return self._resources.enter_context(SpooledPredictions.open(spool, behind, fatal=(UnusableDatabase,)))

    def backlog(self) -> Backlog | None:
        """What has not reached the database yet; None where nothing ever waits. Raises RepositoryUnavailable."""
        return self.predictions.backlog() if isinstance(self.predictions, HasBacklog) else None

    @cached_property
    def sales(self) -> SaleRepository:
        """Where the sales that come back are remembered: beside the predictions, and with PostgreSQL there alone; where
        a plug-in keeps predictions, in the data folder.

        Raises RepositoryUnavailable if it cannot be opened.
        """
        url = self.settings.postgres_url
        if self.settings.database_url == IN_MEMORY:
            return InMemorySales()
        if url is None:
            from housepredict.adapters.sqlite.recorded_sales import SqliteSales

            return self._resources.enter_context(SqliteSales.open(self.settings.data_dir / "sales.sqlite"))
        with needing("postgres", "Keeping sales in PostgreSQL"):
            from housepredict.adapters.postgres.recorded_sales import PostgresSales

        return self._resources.enter_context(
            closing(PostgresSales.at(self._server, schema=self.settings.database_schema))
        )

    @cached_property
    def prediction_keys(self) -> PredictionKeys:
        """Where the idempotency keys of predictions are remembered: where sales are.

        Raises RepositoryUnavailable if it cannot be opened.
        """
        if self.settings.database_url == IN_MEMORY:
            return InMemoryKeys()
        if self.settings.postgres_url is None:
            from housepredict.adapters.sqlite.prediction_keys import SqliteKeys

            return self._resources.enter_context(SqliteKeys.open(self.settings.data_dir / "keys.sqlite"))
        with needing("postgres", "Keeping keys in PostgreSQL"):
            from housepredict.adapters.postgres.prediction_keys import PostgresKeys

        keys = PostgresKeys.at(self._server, POSTGRES_PATIENCE, schema=self.settings.database_schema)
        return self._resources.enter_context(closing(keys))

    @property
    def _server(self) -> str:
        """The way to PostgreSQL itself, which a pool may be in front of: for what locks, listens or is rare."""
        return self.settings.database_direct_url or self.settings.database_url or ""

    @property
    def _model_folder(self) -> Path:
        return self.settings.data_dir / "models"

    @cached_property
    def _model_database(self) -> ModelDatabase | None:
        """The database in which model versions and what is told of them are; None if they are in the folder."""
        url = self.settings.postgres_url
        if url is None or self.settings.models == "folder":
            return None
        with needing("postgres", "Keeping model versions in PostgreSQL"):
            from housepredict.adapters.postgres.persistent_connection import ModelDatabase
        database = ModelDatabase.at(self._server, schema=self.settings.database_schema)
        return self._resources.enter_context(closing(database))

    def migrate(self, seconds: float, *, post: bool = False) -> bool:
        """Apply migrations, with `post` also those that wait for it, to PostgreSQL, which has so long to answer.
        False without PostgreSQL.

        Raises RepositoryUnavailable, or MisconfiguredRepository for tables that are somebody else's.
        """
        url = self.settings.postgres_url
        if url is None:
            return False
        with needing("postgres", "Bringing a database up to date"):
            from housepredict.adapters.postgres.migrations import migrate_once_it_answers

        migrate_once_it_answers(self._server, seconds, schema=self.settings.database_schema, post=post)
        return True

    def close(self) -> None:
        """Close whatever was opened."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def needing(extra: str, purpose: str) -> Iterator[None]:
    """Raise MissingExtra where an import fails."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra.named(extra, purpose) from error


@define(slots=False)
class Application(Storage):
    """The use cases, wired to the adapters that the settings ask for.

    What is not used is neither opened nor imported: numpy with the first model, the database at the first prediction
    or at `predictions`, scikit-learn at the first training.
    """

    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @cached_property
    def clock(self) -> Clock:
        """What time it is."""
        return SystemClock()

    @cached_property
    def live_model(self) -> LiveModel:
        """The predictor in service."""
        if not self.settings.demo:
            return LiveModel(self.models, self.load_predictor)
        from housepredict.adapters.serving.demonstration import load_demonstration

        return LiveModel(self.models, self.load_predictor, load_demonstration())

    @cached_property
    def load_predictor(self) -> PredictorLoader:
        """What makes predictors of model versions. Raises UnusablePlugin where the settings name one that is."""
        if self.settings.predictor is None:
            from housepredict.adapters.serving.loader import load_predictor

            return partial(load_predictor, unpack=self._forms)
        return CheckedLoader(self.settings.predictor, load(PREDICTORS, self.settings.predictor))

    @cached_property
    def _forms(self) -> SharedForms:
        from housepredict.adapters.serving.loader import SharedForms

        return SharedForms()

    def follower(self, publish: Callable[[], None]) -> Follower:
        """Keeps `live_model` at the promoted version, and calls `publish` after each look at the pointer."""
        return Follower(self.live_model, publish, self.announcements())

    @cached_property
    def predict(self) -> Predict:
        """The use case behind every estimate."""
        return Predict(self.live_model, self.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def predict_once(self) -> PredictOnce:
        """The use case behind every estimate that may be asked for again."""
        return PredictOnce(
            self.live_model,
            self.predictions,
            self.clock,
            self.settings.max_batch,
            self._ids,
            keys=self.prediction_keys,
        )

    @cached_property
    def estimate_table(self) -> EstimateTable:
        """The use case behind the estimates of a whole file."""
        return EstimateTable(self.live_model, self.predict, self.settings.max_batch)

    @cached_property
    def explain(self) -> Explain:
        """The use case behind every estimate that is to be explained."""
        from housepredict.adapters.live_model import StoredExplainers

        demonstration = None
        if self.settings.demo:
            from housepredict.adapters.serving.demonstration import load_demonstration_explainer

            demonstration = load_demonstration_explainer()
        explainers = StoredExplainers(self.models, self._load_explainer, demonstration)
        return Explain(
            self.live_model,
            self.predictions,
            self.clock,
            self.settings.max_batch,
            self._ids,
            explainer_of=explainers,
        )

    @cached_property
    def records(self) -> Records:
        """What was estimated: to look up, to read and to forget."""
        return Records(self.predictions, self.sales, self.clock, self.prediction_keys)

    def _load_explainer(self, version: ModelVersion, artefact: Artefact) -> Explainer:
        """The explainer of a version; numpy is loaded with the first."""
        from housepredict.adapters.serving.loader import load_explainer

        return load_explainer(version, artefact, unpack=self._forms)

    @cached_property
    def record_sales(self) -> RecordSales:
        """The use case behind every sale that comes back."""
        return RecordSales(self.sales, self.predictions, self.clock, self.settings.max_batch, self._ids)

    @cached_property
    def review_accuracy(self) -> ReviewAccuracy:
        """The use case behind every look at how far estimates were off."""
        return ReviewAccuracy(self.sales, self.predictions)

    @cached_property
    def review_drift(self) -> ReviewDrift:
        """The use case that compares recent predictions with what the version in service was trained on."""
        return ReviewDrift(self.live_model, self.models, self.predictions)

    @cached_property
    def train(self) -> Train:
        """The use case behind every training. Raises MissingExtra without scikit-learn."""
        return Train(
            _trainer(),
            self.load_predictor,
            self.models,
            self.sales_source,
            self.clock,
            self.trainings,
            held_back,
            RECORD_FIELDS,
        )

    @cached_property
    def trainings(self) -> Trainings:
        """Trainings under way and over, whoever started them."""
        return Trainings(self.models, self.training_log, self.clock)

    @cached_property
    def training_jobs(self) -> TrainingJobs:
        """How the service trains: beside itself."""
        from housepredict.entrypoints.training_processes import TrainingProcesses

        jobs = TrainingProcesses(self.settings, self.trainings, self.live_model.look)
        return self._resources.enter_context(closing(jobs))

    def run_training(self, request: TrainingRequest, begun: OnStart) -> None:
        """Train as a service does: nobody is there to decide about a version that can be compared on nothing.

        Raises what Train raises, UnknownModel if the version `again` is not there, or MissingExtra.
        """
        if request.again is not None:
            self.train.again(self.version(request.again), no_progress, begun=begun)
            return
        source, options = self.sales_to_train_on(request.location, request.options, with_recorded=request.with_recorded)
        self.train(source, options, no_progress, request.policy, if_incomparable=False, begun=begun)

    @cached_property
    def reads_parquet(self) -> bool:
        """Whether files of sales may be Parquet."""
        return find_spec("pyarrow") is not None

    def sales_source(self, location: str | None, options: TrainingOptions, with_recorded: bool) -> SalesSource:
        """The sales at a path, the synthetic ones if there is none; see SalesSources. Raises as `live_model` does for
        recorded sales without a path, whose columns are those of the version in service.
        """
        if not with_recorded:
            return sales_at(location, options.encoding)
        file = None if location is None else sales_at(location, options.encoding)
        schema = self.live_model.current().version.schema if file is None else FeatureSchema(())
        return CombinedSales(file, schema, self.sales, self.predictions, options, self.clock, RECORD_FIELDS)

    def sales_to_train_on(
        self, location: str | None, options: TrainingOptions, *, with_recorded: bool
    ) -> tuple[SalesSource, TrainingOptions]:
        """The sales at a location, with those recorded if asked for, and the options to train with.

        What recorded sales are added to is, if no file is named, that of the promoted version, if it has one that is
        here, with its options if none are given. Raises as `live_model` does.
        """
        name = self.models.pointer().name if with_recorded and location is None else None
        if name:
            promoted, _ = self.models.get(name)
            file = promoted.source.location
            if file is not None and Path(file).is_file():
                location = file
                options = promoted.options if options == TrainingOptions() else options
        return self.sales_source(location, options, with_recorded), options

    @cached_property
    def promote(self) -> Promote:
        """The use case behind every decision about which version serves."""
        return Promote(self.load_predictor, self.models)

    def version(self, name: str) -> ModelVersion:
        """A version that is kept, or the demonstration. Raises UnknownModel, RefusedModel or ModelStoreUnavailable."""
        if self.settings.demo:
            from housepredict.adapters.serving.demonstration import load_demonstration

            if (demonstration := load_demonstration().version).name == name:
                return demonstration
        return self.models.get(name)[0]


def sales_at(location: str | None, encoding: str | None = None) -> SalesSource:
    """The sales at a path; the synthetic ones if there is none."""
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
    """A file for prices, complete when the context is left; standard output if there is none. Raises InvalidSettings
    for a name that does not say what to write.
    """
    from housepredict.adapters.files.price_file import price_file

    return price_file(path, parquet=ending_of(path, ".csv", ".csv.gz", ".parquet") == ".parquet")


def text_at(path: Path | None) -> AbstractContextManager[IO[str]]:
    """A file for text, complete when the context is left; standard output if there is none."""
    from housepredict.adapters.files.atomic import text_file

    return text_file(path)


def _trainer() -> Trainer:
    with needing("train", "Training"):
        from housepredict.adapters.training.trainer import SklearnTrainer
    return SklearnTrainer()
