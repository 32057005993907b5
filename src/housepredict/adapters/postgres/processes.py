"""The processes that serve from a database of model versions, by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from attrs import astuple, define

from housepredict.adapters.postgres.model_database import ModelDatabase
from housepredict.domain.ports.processes import LASTS
from housepredict.domain.processes import LiveProcess

_TELL = """
INSERT INTO {schema}.live_processes (id, host, pid, version, generation, refused) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, generation = excluded.generation,
    refused = excluded.refused, seen_at = excluded.seen_at
"""
_FORGET = "DELETE FROM {schema}.live_processes WHERE seen_at < now() - interval '1 hour'"
_ALIVE = """
SELECT id, host, pid, version, generation, refused FROM {schema}.live_processes
WHERE seen_at > now() - make_interval(secs => %s) ORDER BY host, pid
"""


@define
class PostgresProcesses:
    """LiveProcesses in PostgreSQL. `lasts` is in seconds."""

    _connection: ModelDatabase
    _lasts: float = LASTS

    def tell(self, process: LiveProcess) -> None:
        """Give a sign of life; see LiveProcesses."""
        with self._connection.asked() as connection:
            connection.execute(_TELL, astuple(process))
            connection.execute(_FORGET)

    def leave(self, process: UUID) -> None:
        """Forget a process."""
        with self._connection.asked() as connection:
            connection.execute("DELETE FROM {schema}.live_processes WHERE id = %s", (process,))

    def alive(self) -> Sequence[LiveProcess]:
        """Those that told of themselves lately."""
        with self._connection.asked() as connection:
            return [LiveProcess(*row) for row in connection.execute(_ALIVE, (self._lasts,))]
