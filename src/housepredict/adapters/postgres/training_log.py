"""The log of trainings in PostgreSQL: every service on the database tells of the same ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

from attrs import define

from housepredict.adapters.postgres.connections import TimeLimitedConnection
from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.domain.errors import UnknownTraining
from housepredict.domain.training_status import TrainingOutcome, TrainingState, TrainingStatus

_log = logging.getLogger(__name__)

_COLUMNS = (
    "id, started_at, location, with_recorded, done, total, cancelling, keeping, ended_at, state, version, promoted,"
    " reasons, error"
)
_VALUES = ", ".join(["%s"] * len(_COLUMNS.split()))
_INSERT = f"INSERT INTO {{schema}}.trainings ({_COLUMNS}) VALUES ({_VALUES})"  # noqa: S608
_UPDATE = f"UPDATE {{schema}}.trainings SET ({_COLUMNS}) = ({_VALUES}) WHERE id = %s"  # noqa: S608
_SELECT = f"SELECT {_COLUMNS} FROM {{schema}}.trainings"  # noqa: S608


@define
class PostgresTrainings:
    """A TrainingLog in PostgreSQL. Threads may share it; see ModelDatabase for when it connects."""

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
            raise UnknownTraining(f"There is no training {id_} in PostgreSQL at {self._server.database.place}")
        return _record(row)


def _row(record: TrainingStatus) -> tuple[Any, ...]:
    outcome = record.outcome or TrainingOutcome(record.state)
    return (
        record.id,
        record.started_at,
        record.location,
        record.with_recorded,
        record.done,
        record.total,
        record.cancelling,
        record.keeping,
        record.ended_at,
        outcome.state,
        outcome.version,
        outcome.promoted,
        list(outcome.reasons),
        outcome.error,
    )


def _record(row: tuple[Any, ...]) -> TrainingStatus:
    *begun, state, version, promoted, reasons, error = row
    id_, started_at, location, with_recorded, done, total, cancelling, keeping, ended_at = begun
    try:
        known = TrainingState(state)
    except ValueError:
        raise UnknownTraining(
            f"Training {id_} was logged by a newer release of housepredict: {state!r} is unknown to this release. "
            "Upgrade housepredict"
        ) from None
    outcome = TrainingOutcome(known, version, promoted, tuple(reasons), error)
    return TrainingStatus(
        id=id_,
        started_at=started_at.astimezone(UTC),
        location=location,
        with_recorded=with_recorded,
        done=done,
        total=total,
        cancelling=cancelling,
        keeping=keeping,
        ended_at=ended_at.astimezone(UTC) if ended_at else None,
        outcome=None if outcome.state is TrainingState.RUNNING else outcome,
    )
