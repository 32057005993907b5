"""The model store in PostgreSQL, shared by all services that use the same database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from attrs import define

from housepredict.adapters.documents import read_manifest, readable_versions, to_json
from housepredict.adapters.postgres.connections import TimeLimitedConnection
from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.domain.errors import RefusedModel, TrainingInProgress, UnknownModel
from housepredict.domain.models import MAX_ARTIFACT, MAX_FILE, Artifact, ModelVersion, Pointer, is_plain, verify

_MAX_HISTORY = 1000
_TRANSFER_TIMEOUT_S = 60.0
"""Timeout in seconds for writing or reading a version's files."""
_TRAINING = int.from_bytes(b"training")
"""Key of the advisory lock held during training in the schema `public`. Earlier releases use the same key."""
_TRAINING_IN_SCHEMA = int.from_bytes(b"trai")
"""First key of the advisory lock held during training in any other schema. The second key is the schema's hash."""


@define
class PostgresModels:
    """A thread-safe ModelStore in PostgreSQL. The first use connects to the database."""

    _server: ModelDatabase

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        verify(version, artifact)
        manifest = to_json(version).decode()
        with self._server.long_session(_TRANSFER_TIMEOUT_S) as connection, connection.transaction():
            added = connection.execute(
                "INSERT INTO {schema}.model_versions (name, manifest) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
                (version.name, manifest),
            )
            if added.rowcount:
                for name, content in artifact.items():
                    connection.execute(
                        "INSERT INTO {schema}.model_files (version, name, content) VALUES (%s, %s, %b)",
                        (version.name, name, content),
                    )

    def versions(self) -> Sequence[ModelVersion]:
        with self._server.session() as connection:
            rows = connection.execute("SELECT name, manifest FROM {schema}.model_versions").fetchall()
        manifests = dict(rows)
        return readable_versions(manifests, lambda name: read_manifest(name, manifests[name]))

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        with self._server.long_session(_TRANSFER_TIMEOUT_S) as connection:
            version = read_manifest(name, self._manifest(connection, name))
            [(largest, total)] = connection.execute(
                "SELECT max(length(content)), sum(length(content)) FROM {schema}.model_files WHERE version = %s",
                (name,),
            )
            if (largest or 0) > MAX_FILE or (total or 0) > MAX_ARTIFACT:
                raise RefusedModel(f"Model version {name} is damaged: its files are too large")
            rows = connection.execute(
                "SELECT name, content FROM {schema}.model_files WHERE version = %s", (name,), binary=True
            ).fetchall()
        artifact = dict(rows)
        verify(version, artifact)
        return version, artifact

    def promote(self, name: str) -> None:
        with self._server.session() as connection:
            self._manifest(connection, name)
            connection.execute(
                "UPDATE {schema}.model_pointer SET generation = generation + 1, history = (%s || history)[:%s]"
                " WHERE history[1] IS DISTINCT FROM %s",
                ([name], _MAX_HISTORY, name),
            )

    def rollback(self, name: str) -> None:
        with self._server.session() as connection:
            self._manifest(connection, name)
            moved = connection.execute(
                "UPDATE {schema}.model_pointer SET history = history[array_position(history, %(name)s):],"
                " generation = generation + (history[1] <> %(name)s)::int WHERE %(name)s = ANY (history)",
                {"name": name},
            )
        if not moved.rowcount:
            raise UnknownModel(f"Model version {name!r} was never promoted")

    def history(self) -> Sequence[str]:
        with self._server.session() as connection:
            [(names,)] = connection.execute("SELECT history FROM {schema}.model_pointer")
        return tuple(names)

    def pointer(self) -> Pointer:
        with self._server.session() as connection:
            [row] = connection.execute("SELECT history[1], generation FROM {schema}.model_pointer", prepare=True)
        return Pointer(*row)

    @contextmanager
    def training(self) -> Iterator[None]:
        # The lock is released when the connection is closed or the process ends.
        with closing(self._server.connect()) as connection:
            with self._server.translated():
                # Advisory locks apply to the whole database, so the keys must identify the schema.
                if connection.schema == '"public"':
                    rows = connection.execute("SELECT pg_try_advisory_lock(%s)", (_TRAINING,))
                else:
                    keys = _TRAINING_IN_SCHEMA, connection.schema
                    rows = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", keys)
                [(has_lock,)] = rows
            if not has_lock:
                raise TrainingInProgress
            yield

    def _manifest(self, connection: TimeLimitedConnection, name: str) -> str:
        row = (
            is_plain(name)
            and connection.execute("SELECT manifest FROM {schema}.model_versions WHERE name = %s", (name,)).fetchone()
        )
        if not row:
            raise UnknownModel(f"There is no model version {name!r} in PostgreSQL at {self._server.database.place}")
        return str(row[0])
