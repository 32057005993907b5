"""Model versions in PostgreSQL: store contract, concurrent connections, damage and outages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.connections import Database
from housepredict.adapters.postgres.model_store import PostgresModels
from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.domain.errors import ModelStoreUnavailable, RefusedModel, TrainingInProgress, UnknownModel
from housepredict.domain.models import MAX_FILE
from housepredict.domain.ports import ModelStore
from housepredict.testing.drawing import sample_version
from housepredict.testing.model_contract import ModelStoreContract, NewStore
from tests.integration.relay import Relay
from tests.postgres_servers import Server

Execute = Callable[[str], psycopg.Cursor[tuple[object, ...]]]


@pytest.fixture
def execute(administrator: psycopg.Connection) -> Execute:
    """Return a function that executes a statement on the database, bypassing the store."""
    return administrator.execute


@pytest.fixture
def store(postgres: str) -> Iterator[PostgresModels]:
    store = PostgresModels(ModelDatabase.at(postgres))
    yield store
    store._server.close()


class TestPostgresModels(ModelStoreContract):
    @pytest.fixture
    def new_store(self, store: PostgresModels, execute: Execute) -> NewStore:
        def emptied() -> PostgresModels:
            store.versions()  # creates the tables
            execute("TRUNCATE model_files, model_versions")
            execute("UPDATE model_pointer SET history = '{}', generation = 0")
            return store

        return emptied

    @pytest.fixture(autouse=True)
    def other(self, postgres: str) -> Iterator[None]:
        self._other = PostgresModels(ModelDatabase.at(postgres))
        yield
        self._other._server.close()

    def reopen(self, store: ModelStore) -> ModelStore:
        self._other._server.close()
        self._other = PostgresModels(ModelDatabase(self._other._server.database))
        return self._other


def test_generation_increases_with_each_pointer_change(store: PostgresModels, execute: Execute) -> None:
    for name in "ab":
        store.add(*sample_version(name))
    generations = []
    for move, name in ((store.promote, "a"), (store.promote, "b"), (store.rollback, "a")):
        for _ in range(2):  # the second call changes nothing
            move(name)
            generations.append(execute("SELECT generation FROM model_pointer").fetchone())
    assert generations == [(1,), (1,), (2,), (2,), (3,), (3,)]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE model_files SET content = 'other' WHERE version = 'a'", "model.bin was changed"),
        # stored compressed, so that it is large only when read
        (
            (
                "ALTER TABLE model_files ALTER COLUMN content SET STORAGE EXTENDED;"
                f"UPDATE model_files SET content = convert_to(repeat(' ', {MAX_FILE + 1}), 'UTF8') WHERE version = 'a'"
            ),
            "too large",
        ),
        ("DELETE FROM model_files WHERE version = 'a'", "found none"),
        ("INSERT INTO model_files VALUES ('a', 'more.bin', '')", "found model.bin, more.bin"),
        ("UPDATE model_versions SET manifest = '{' WHERE name = 'a'", "manifest is damaged"),
        (
            "UPDATE model_versions SET manifest = b.manifest FROM model_versions AS b WHERE b.name = 'b'",
            "its manifest belongs to b",
        ),
    ],
)
def test_damaged_version_is_rejected_with_reason(
    store: PostgresModels, execute: Execute, damage: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(*sample_version("a"))
    store.add(*sample_version("b"))
    execute(damage)
    with pytest.raises(RefusedModel, match=reason):
        store.get("a")
    with caplog.at_level(logging.WARNING):
        listed = [version.name for version in store.versions()]
    assert listed == (["b"] if "manifest" in damage else ["a", "b"])
    assert ("skipping model version a" in caplog.text) == ("manifest" in damage)
    assert store.get("b") == sample_version("b")


def test_add_is_atomic(store: PostgresModels, execute: Execute) -> None:
    store.versions()
    execute("ALTER TABLE model_files ADD CHECK (name <> 'model.bin')")
    with pytest.raises(ModelStoreUnavailable):
        store.add(*sample_version("a"))
    assert store.versions() == []


def test_store_is_unavailable_until_server_returns(stoppable: Server) -> None:
    store = PostgresModels(ModelDatabase.at(stoppable.conninfo))
    store.add(*sample_version("outlives-a-restart"))
    stoppable.stop()
    for ask in store.pointer, store.versions, store.history, lambda: store.get("a"), lambda: store.promote("a"):
        with pytest.raises(ModelStoreUnavailable, match="PostgreSQL at"):
            ask()
    stoppable.start()
    assert "outlives-a-restart" in [version.name for version in store.versions()]
    store._server.close()


def test_unresponsive_server_is_unavailable(postgres: str, relay: Relay) -> None:
    store = PostgresModels(
        ModelDatabase(Database.at(make_conninfo(postgres, host="127.0.0.1", port=relay.port)), patience=0.2)
    )
    assert store.pointer().name is None
    relay.freeze()
    with pytest.raises(ModelStoreUnavailable):
        store.pointer()
    relay.thaw()
    assert store.pointer().name is None
    store._server.close()


def test_lost_connection_releases_training_lock(store: PostgresModels, execute: Execute) -> None:
    with store.training():
        execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")
        with store.training(), pytest.raises(TrainingInProgress), store.training():
            pytest.fail("two trained at once")


@pytest.mark.parametrize(("schema", "other"), [("public", "staging"), ("staging", "public"), ("staging", "ml")])
def test_training_lock_is_per_schema(postgres: str, schema: str, other: str) -> None:
    def store(name: str) -> PostgresModels:
        return PostgresModels(ModelDatabase.at(postgres, schema=name))

    with store(schema).training(), store(other).training():
        for each in schema, other:
            with pytest.raises(TrainingInProgress), store(each).training():
                pytest.fail("two trained at once")
    with store(schema).training():
        pass


def test_training_lock_in_public_matches_earlier_releases(store: PostgresModels, execute: Execute) -> None:
    execute(f"SELECT pg_advisory_lock({int.from_bytes(b'training')})")
    with pytest.raises(TrainingInProgress), store.training():
        pytest.fail("two trained at once")


def test_promote_of_missing_version_is_unknown(store: PostgresModels) -> None:
    with pytest.raises(UnknownModel, match="in PostgreSQL at"):
        store.promote("a")
