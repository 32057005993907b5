"""The targets: the service with different settings, and the baselines."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

from attrs import evolve, field, frozen

from benchmarks.throughput import postgres
from benchmarks.throughput.processes import begin_load, end_load, serving
from benchmarks.throughput.runs import Run, read_run

BASELINES = Path(__file__).with_name("baselines")
KING_COUNTY = "examples/king_county_sales.csv.gz"
NOT_FEATURES = ("id", "price")

LAB, LAB_BODY = "the tutorial's design", {"size": 2500, "bedrooms": 3, "age": 10}
DURABLE, DURABLE_2, MEMORY = "housepredict", "housepredict, 2 processes", "housepredict, memory:"
FASTAPI, STARLETTE, CALLABLE = "FastAPI + scikit-learn, no database", "bare Starlette route", "bare ASGI callable"
LINEAR, BOOSTED = "housepredict, King County, linear", "housepredict, King County, boosted"
BATCH, INSERT = "housepredict, 1,000 houses a request", "bare INSERT of 1,000 rows"
BATCH_ROWS = 1000


@frozen
class Target:
    """A server and the requests for it. `database` is the conninfo of its database, None if it has none."""

    name: str
    command: tuple[str, ...]
    bodies: Path
    port: int = field(factory=postgres.free_port)
    environment: dict[str, str] = field(factory=dict)
    database: str | None = None
    table: str = "predictions"
    rows_an_answer: int = 1
    is_served: bool = True

    def run(self, connections: int, seconds: int) -> Run:
        """Put the target under load, then count the rows that it stored."""
        if self.database:
            postgres.execute(self.database, f"TRUNCATE {self.table}")
        return self.counted(end_load(begin_load(self.port, self.bodies, connections, seconds)), connections)

    def counted(self, run: Run, connections: int) -> Run:
        """Return the run with the number of stored rows."""
        run = evolve(run, connections=connections, rows_an_answer=self.rows_an_answer)
        if not self.database:
            return run
        expected = run.succeeded * self.rows_an_answer
        return evolve(run, stored=postgres.settled_count(self.database, self.table, expected))


@frozen
class Fresh(Target):
    """A server that is restarted for each run, so that predictions in memory don't slow down the next run."""

    def run(self, connections: int, seconds: int) -> Run:
        """Start the server, warm it up, and put it under load."""
        with serving(self.command, self.environment, self.port):
            end_load(begin_load(self.port, self.bodies, connections, 1))
            return super().run(connections, seconds)


@frozen
class BareInsert(Target):
    """A loop of INSERTs in a separate process, on a copy of the service's table."""

    def run(self, _connections: int, seconds: int) -> Run:
        """Insert for some seconds over a single connection."""
        assert self.database
        postgres.execute(self.database, f"CREATE TABLE IF NOT EXISTS {self.table} (LIKE predictions INCLUDING ALL)")
        postgres.execute(self.database, f"TRUNCATE {self.table}")
        done = subprocess.run(
            [*self.command, self.database, self.table, str(seconds)],
            input=self.bodies.read_text(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return self.counted(read_run(done.stdout), 1)


@frozen
class Bench:
    """The service's interpreter, a temporary folder, and the database server."""

    python: str
    folder: Path
    server: postgres.Server

    def train(self, algorithm: str) -> Path:
        """Train a King County model of all columns. Return its data folder."""
        folder = self.folder / algorithm
        subprocess.run(
            [
                self.python, "-m", "housepredict", "train", KING_COUNTY, "--price", "price",
                "--algorithm", algorithm, "--data-dir", str(folder),
            ],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return folder

    def service(self, name: str, label: str, bodies: Path, *, memory: bool = False, workers: int = 1,
                data: Path | None = None, rows: int = 1) -> Target:  # fmt: skip
        """Return the service with the model in the data folder `data`, by default with the tutorial's model."""
        database = None if memory else postgres.create_database(self.server, label)
        port = postgres.free_port()
        command = [self.python, "-m", "housepredict", "serve", "--port", str(port)]
        command += ["--data-dir", str(data or self.folder / label), *(() if data else ("--demo",))]
        command += ["--workers", str(workers)] if workers > 1 else []
        environment = {"HOUSEPREDICT_DATABASE_URL": database or "memory:"}
        kind = Fresh if memory else Target
        return kind(
            name, tuple(command), bodies, port, environment, database, rows_an_answer=rows, is_served=not memory
        )

    def under_uvicorn(self, name: str, module: str, bodies: Path) -> Target:
        """Return a baseline, served by uvicorn with the service's options."""
        port = postgres.free_port()
        app = f"benchmarks.throughput.baselines.{module}:app"
        options = "--loop uvloop --http httptools --no-access-log --no-proxy-headers --no-server-header"
        command = (sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning")
        return Target(name, (*command, *options.split()), bodies, port)

    def tutorial(self, bodies: Path) -> Target:
        port, database = postgres.free_port(), postgres.create_database(self.server, "tutorial")
        postgres.execute(database, (BASELINES / "tutorial.sql").read_text())
        app = "benchmarks.throughput.baselines.tutorial:app"
        command = (sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", app)
        return Target(LAB, command, bodies, port, {"BENCH_DATABASE_URL": database}, database)

    def durable(self) -> Target:
        """Return the service with one process, PostgreSQL, and the tutorial's model and request."""
        return self.service(DURABLE, "one", self.bodies("lab.txt", [LAB_BODY]))

    def bodies(self, name: str, lines: list[object]) -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def targets(self) -> list[Target]:
        """Return all targets."""
        lab = self.bodies("lab.txt", [LAB_BODY])
        county = self.bodies("king-county.txt", king_county_houses(500))
        batch = self.bodies("batch.txt", [[{**LAB_BODY, "size": 1500 + row} for row in range(BATCH_ROWS)]])
        in_batches = self.service(BATCH, "batches", batch, rows=BATCH_ROWS)
        insert = (sys.executable, "-m", "benchmarks.throughput.baselines.bare_insert")
        return [
            self.tutorial(lab),
            self.durable(),
            self.service(DURABLE_2, "two", lab, workers=2),
            self.service(MEMORY, "memory", lab, memory=True),
            self.under_uvicorn(FASTAPI, "fastapi_sklearn", lab),
            self.under_uvicorn(STARLETTE, "starlette_route", lab),
            self.under_uvicorn(CALLABLE, "asgi_callable", lab),
            self.service(LINEAR, "county_linear", county, data=self.train("linear")),
            self.service(BOOSTED, "county_boosted", county, data=self.train("boosting")),
            in_batches,
            BareInsert(
                INSERT,
                insert,
                batch,
                database=in_batches.database,
                table="bare_insert",
                rows_an_answer=BATCH_ROWS,
                is_served=False,
            ),
        ]


def king_county_houses(limit: int) -> list[object]:
    """Return the first houses of the file as request bodies."""
    with gzip.open(KING_COUNTY, "rt", newline="") as file:
        rows = csv.DictReader(file)
        return [_house(row) for row, _ in zip(rows, range(limit), strict=False)]


def _house(row: dict[str, str]) -> object:
    return {name: _value(text) for name, text in row.items() if name not in NOT_FEATURES}


def _value(text: str) -> object:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text
