"""A full disk of PostgreSQL: it rejects writes, or stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from campaign import postgres
from campaign.attacks.faults.system import DATABASE, Fault, System, serving
from campaign.readiness import Says
from campaign.trials import Trial, Unavailable
from tests.small_disks import SmallFileSystem, choose_disk, small_disk

_SIZE_MB = 160
"""Enough for an empty server and a few segments of its write-ahead log."""
_DISK_FULL = r"No space left|could not extend|connection|recovery|terminat|starting up|shutting down"


def run(trial: Trial) -> None:
    """Fill the disk, then free space again."""
    if choose_disk() is not SmallFileSystem:
        raise Unavailable("disk full: no small file system can be mounted")
    with small_disk(SmallFileSystem) as disk:
        assert isinstance(disk, SmallFileSystem)
        disk.resize(0, _SIZE_MB)

        @contextmanager
        def happening(system: System) -> Iterator[None]:
            disk.take_the_rest(0)
            if trial.random.random() < 0.5:
                # Its write-ahead log has no space either: it stops, and may be unable to recover.
                with suppress(psycopg.Error):
                    for _ in range(20):
                        system.cluster.execute("SELECT pg_switch_wal()")
                        system.cluster.execute("SELECT pg_logical_emit_message(true, 'campaign', 'a record')")
            yield
            (disk.folder / "rest").unlink()
            trial.counts["disk full: server restarted"] += system.cluster.revive()

        fault = Fault("disk full", happening, Says(behind=_DISK_FULL), newcomer=None)
        with postgres.running(within=disk.folder) as cluster:
            cluster.create_database(DATABASE)
            with serving(trial, cluster, cluster.url(DATABASE)) as system:
                system.strike(fault, trial.random.uniform(0.5, 4))
            system.check(cluster.stored(DATABASE))
