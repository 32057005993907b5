"""Where everything is kept: the adapters that the settings ask for, opened when they are first used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import define, field

from housepredict.adapters.directory import DirectoryModels
from housepredict.adapters.memory import InMemoryKeys, InMemoryPredictions, InMemorySales
from housepredict.adapters.signed_models import SignedModels
from housepredict.domain.errors import MissingExtra, UnusableDatabase
from housepredict.domain.ports import (
    Backlog,
    Backlogged,
    ModelStore,
    PredictionKeys,
    PredictionRepository,
    RepositoryOpener,
    SaleRepository,
    TrainingLog,
)
from housepredict.entrypoints.plugins import REPOSITORIES, load
from housepredict.entrypoints.setting_values import IN_MEMORY, scheme_of
from housepredict.entrypoints.settings import Settings

if TYPE_CHECKING:
    from housepredict.adapters.postgres.announcements import PostgresAnnouncements
    from housepredict.adapters.postgres.model_database import ModelDatabase

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
        from housepredict.adapters.postgres.models import PostgresModels
        from housepredict.adapters.shared_models import SharedModels

        return SharedModels(PostgresModels(self._model_database), own)

    def announcements(self) -> PostgresAnnouncements | None:
        """What announces promotions; None where the pointer must be polled."""
        if not self._model_database:
            return None
        from housepredict.adapters.postgres.announcements import PostgresAnnouncements

        return PostgresAnnouncements(self._model_database)

    @cached_property
    def training_log(self) -> TrainingLog:
        """Where trainings are told of: where model versions are kept, so that the lock there proves it true."""
        if not self._model_database:
            from housepredict.adapters.directory_trainings import DirectoryTrainings

            return DirectoryTrainings(self._model_folder / "trainings")
        from housepredict.adapters.postgres.trainings import PostgresTrainings

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
            from housepredict.adapters.sqlite import SqlitePredictions

            return self._resources.enter_context(SqlitePredictions.open(self.settings.data_dir / "predictions.sqlite"))
        if self.settings.postgres_url is None:
            open_: RepositoryOpener = load(REPOSITORIES, scheme_of(url))
            return self._resources.enter_context(open_(url))
        with needing("postgres", "Keeping predictions in PostgreSQL"):
            from housepredict.adapters.postgres.repository import PostgresPredictions
        from housepredict.adapters.spooled.repository import SpooledPredictions
        from housepredict.adapters.sqlite_spool import SqliteSpool

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
        return self.predictions.backlog() if isinstance(self.predictions, Backlogged) else None

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
            from housepredict.adapters.sqlite_sales import SqliteSales

            return self._resources.enter_context(SqliteSales.open(self.settings.data_dir / "sales.sqlite"))
        with needing("postgres", "Keeping sales in PostgreSQL"):
            from housepredict.adapters.postgres.sales import PostgresSales

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
            from housepredict.adapters.sqlite_keys import SqliteKeys

            return self._resources.enter_context(SqliteKeys.open(self.settings.data_dir / "keys.sqlite"))
        with needing("postgres", "Keeping keys in PostgreSQL"):
            from housepredict.adapters.postgres.keys import PostgresKeys

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
            from housepredict.adapters.postgres.model_database import ModelDatabase
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
