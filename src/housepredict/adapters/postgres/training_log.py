"""The training log in PostgreSQL, shared by all services that use the same database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from attrs import define, fields

from housepredict.adapters.postgres.connections import TimeLimitedConnection
from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.domain.errors import UnknownTraining
from housepredict.domain.training_status import TrainingOutcome, TrainingState, TrainingStatus

_log = logging.getLogger(__name__)

_OUTCOME_COLUMNS = tuple(attribute.name for attribute in fields(TrainingOutcome))
_STATUS_COLUMNS = tuple(attribute.name for attribute in fields(TrainingStatus) if attribute.name != "outcome")
_COLUMNS = ", ".join(_STATUS_COLUMNS + _OUTCOME_COLUMNS)
_VALUES = ", ".join(["%s"] * len(_STATUS_COLUMNS + _OUTCOME_COLUMNS))
_INSERT = f"INSERT INTO {{schema}}.trainings ({_COLUMNS}) VALUES ({_VALUES})"  # noqa: S608
_UPDATE = f"UPDATE {{schema}}.trainings SET ({_COLUMNS}) = ({_VALUES}) WHERE id = %s"  # noqa: S608
_SELECT = f"SELECT {_COLUMNS} FROM {{schema}}.trainings"  # noqa: S608


@define
class PostgresTrainings:
    """A thread-safe TrainingLog in PostgreSQL. The first use connects to the database."""

    _server: ModelDatabase

    def begin(self, record: TrainingStatus) -> None:
        with self._server.session() as connection:
            connection.execute(_INSERT, _row(record))

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        with self._server.session() as connection, connection.transaction():
            record = self._read(connection, training, "FOR UPDATE")
            changed = how(record)
            if changed != record:
                connection.execute(_UPDATE, (*_row(changed), training))
            return changed

    def get(self, training: UUID) -> TrainingStatus:
        with self._server.session() as connection:
            return self._read(connection, training)

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        with self._server.session() as connection:
            rows = connection.execute(f"{_SELECT} ORDER BY id DESC LIMIT %s", (limit,)).fetchall()
        records = []
        for row in rows:
            try:
                records.append(_record(row))
            except UnknownTraining as error:
                _log.warning("%s", error)
        return records

    def _read(self, connection: TimeLimitedConnection, id_: UUID, lock: str = "") -> TrainingStatus:
        row = connection.execute(f"{_SELECT} WHERE id = %s {lock}", (id_,)).fetchone()
        if row is None:
            raise UnknownTraining(f"There is no training job {id_} in PostgreSQL at {self._server.database.place}")
        return _record(row)


def _row(record: TrainingStatus) -> list[Any]:
    outcome = record.outcome or TrainingOutcome(record.state)
    row = [getattr(record, name) for name in _STATUS_COLUMNS] + [getattr(outcome, name) for name in _OUTCOME_COLUMNS]
    return [list(value) if isinstance(value, tuple) else value for value in row]


def _record(row: Sequence[Any]) -> TrainingStatus:
    values: list[Any] = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    status = dict(zip(_STATUS_COLUMNS, values, strict=False))
    outcome = dict(zip(_OUTCOME_COLUMNS, values[len(_STATUS_COLUMNS) :], strict=True))
    try:
        outcome["state"] = TrainingState(outcome["state"])
    except ValueError:
        raise UnknownTraining(
            f"Training job {status['id']} was logged by a newer release of housepredict: {outcome['state']!r} is"
            " unknown to this release. Upgrade housepredict"
        ) from None
    has_ended = outcome["state"] is not TrainingState.RUNNING
    return TrainingStatus(**status, outcome=TrainingOutcome(**outcome) if has_ended else None)
