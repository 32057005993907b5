"""Restarts of the server while services migrate a database. Each migration must be applied completely, and once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

from campaign import postgres
from campaign.attacks.faults.failover import AWAY
from campaign.attacks.faults.system import DATABASE, System, serving
from campaign.history import Stored
from campaign.postgres import ROLE, Cluster
from campaign.readiness import NOTICED_S, Says
from campaign.services import LONG, pause
from campaign.trials import Broken, Trial
from tests.releases import MIGRATIONS, yoyo_database

_NAME = "restart during a migration"
_FIRST_HOUSE = 1_000_000
"""The smallest size of earlier predictions. Their price equals their size."""
_ROWS = 2000
_LAB_TABLE = """
CREATE TABLE predictions (id SERIAL PRIMARY KEY, size REAL NOT NULL, bedrooms INTEGER NOT NULL, age INTEGER NOT NULL,
    predicted_price REAL NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
INSERT INTO predictions (size, bedrooms, age, predicted_price)
SELECT house, 3, 10, house FROM generate_series({first}, {last}) AS house
"""
_OLDER_ROWS = """
INSERT INTO predictions (id, created_at, model_version, features, price, valued_on, caveats)
SELECT (lpad(to_hex(house), 12, '0') || '-7000-8000-000000000000')::uuid, now(), 'older',
    jsonb_build_object('size', house, 'bedrooms', 3, 'age', 10), house, NULL, '[]'
FROM generate_series({first}, {last}) AS house
"""
_SLOW = """
CREATE SCHEMA slow;
CREATE FUNCTION slow.down() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); END';
CREATE EVENT TRIGGER slow ON ddl_command_end EXECUTE FUNCTION slow.down()
"""
_MIGRATING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


def run(trial: Trial) -> None:
    """Restart the server at least once while two services start and already estimate."""
    with postgres.running() as cluster:
        cluster.create_database(DATABASE)
        rows = _prepare(trial, cluster)
        cluster.execute(_SLOW, database=DATABASE)
        # The demonstration serves immediately only if the pointer isn't in the database.
        variables = {"HOUSEPREDICT_MODELS": "folder"}
        began = time.monotonic()
        with serving(trial, cluster, cluster.url(DATABASE), variables, variables, ready=False) as system:
            for remaining in reversed(range(trial.random.randint(1, 3))):
                _strike(system, is_last=not remaining)
            system.recover(_NAME, began, system.services)
        _check_migrations(cluster)
        stored = cluster.stored(DATABASE)
        _check_earlier([record for record in stored if record.house >= _FIRST_HOUSE], rows)
        system.check([record for record in stored if record.house < _FIRST_HOUSE])
        trial.counts[f"faults: {_NAME}"] += 1


def _prepare(trial: Trial, cluster: Cluster) -> int:
    """Leave the database empty, or create tables of the tutorial or an older release. Returns the number of rows."""
    done = trial.random.choice([0, 0, *range(1, len(MIGRATIONS))])
    numbers = {"first": _FIRST_HOUSE, "last": _FIRST_HOUSE + _ROWS - 1}
    if done:
        cluster.execute(f"SET ROLE {ROLE}; {yoyo_database(done)}; {_OLDER_ROWS.format(**numbers)}", database=DATABASE)
    elif trial.random.random() < 0.5:
        cluster.execute(f"SET ROLE {ROLE}; {_LAB_TABLE.format(**numbers)}", database=DATABASE)
    else:
        return 0
    return _ROWS


def _strike(system: System, *, is_last: bool) -> None:
    """Wait for a migration, and end the server or the connection that is migrating."""
    cluster, random = system.cluster, system.trial.random
    backend = _wait_until_migrating(cluster)
    pause(random.uniform(0, 1))
    end = random.choice(["kill", "immediate", "fast", "backend"])
    match end:
        case "kill":
            cluster.kill()
        case "backend" if not is_last:
            with suppress(ProcessLookupError):  # it has already ended
                os.kill(backend, signal.SIGKILL)  # the server then ends all connections and recovers
        case _:
            cluster.stop("immediate" if end == "backend" else end)
    ended = time.monotonic()
    if is_last:
        for each in system.services:
            each.wait_until_ready()
        until = max(ended, time.monotonic()) + NOTICED_S
        pause(until - time.monotonic() + 0.5)
        for each in system.services:
            system.check_readiness(_NAME, each, Says(behind=AWAY), until, time.monotonic())
    cluster.revive()
    migrated = len(cluster.execute("SELECT FROM pg_tables WHERE tablename = 'prune_watermark'", database=DATABASE))
    system.trial.counts[f"migrations {'completed before' if migrated else 'repeated after'} the restart"] += 1


def _wait_until_migrating(cluster: Cluster) -> int:
    """Wait until a server process is migrating, and return its id, or that of any service's after the migrations."""
    until = time.monotonic() + LONG
    while True:
        pids = [int(pid) for (pid,) in cluster.execute(_MIGRATING)]
        if not pids and _is_migrated(cluster):
            pids = cluster.backends(DATABASE)
        if pids:
            return pids[0]
        assert time.monotonic() < until, "no service is migrating"
        pause(0.01)


def _is_migrated(cluster: Cluster) -> bool:
    return bool(cluster.execute("SELECT 1 FROM pg_tables WHERE tablename = 'prune_watermark'", database=DATABASE))


def _check_migrations(cluster: Cluster) -> None:
    applied = cluster.execute("SELECT migration_id FROM _yoyo_migration ORDER BY 1", database=DATABASE)
    if [name for (name,) in applied] != [file.stem for file in MIGRATIONS]:
        raise Broken(f"migrations are missing; applied: {applied}")


def _check_earlier(stored: Sequence[Stored], rows: int) -> None:
    expected = set(range(_FIRST_HOUSE, _FIRST_HOUSE + rows))
    if len(stored) != rows or {record.house for record in stored if record.price == record.house} != expected:
        raise Broken(f"{len(stored)} earlier predictions instead of {rows}, or different ones: {stored[:3]}")
