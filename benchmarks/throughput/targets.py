"""What is put under load, each declared in a few lines: the service as it may be set, and what it is compared with."""

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
    """A server and the requests for it. `database` is the conninfo of its own one, None if it has none."""

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
        """Put it under load, then count what it stored."""
        if self.database:
            postgres.execute(self.database, f"TRUNCATE {self.table}")
        return self.counted(end_load(begin_load(self.port, self.bodies, connections, seconds)), connections)

    def counted(self, run: Run, connections: int) -> Run:
        """The run with the rows that were stored since the table was empty."""
        run = evolve(run, connections=connections, rows_an_answer=self.rows_an_answer)
        if not self.database:
            return run
        expected = run.succeeded * self.rows_an_answer
        return evolve(run, stored=postgres.settled_count(self.database, self.table, expected))


@frozen
class Fresh(Target):
    """A server that is started anew for each run: what it keeps in memory would weigh on the next."""

    def run(self, connections: int, seconds: int) -> Run:
        """Start it, warm it up, put it under load."""
        with serving(self.command, self.environment, self.port):
            end_load(begin_load(self.port, self.bodies, connections, 1))
            return super().run(connections, seconds)


@frozen
class BareInsert(Target):
    """No server: a loop in a process of its own, on a copy of the service's table."""

    def run(self, _connections: int, seconds: int) -> Run:
        """Insert for so long; one connection, whatever is asked for."""
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
    """Where everything is: the service's interpreter, a folder to work in, the database server."""

    python: str
    folder: Path
    server: postgres.Server

    def train(self, algorithm: str) -> Path:
        """A data folder with a King County model of all columns."""
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
        """The service; with the tutorial's model, unless `data` holds another."""
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
        """A baseline, served as the service serves itself."""
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
        """One process, Postgres, the tutorial's model and request."""
        return self.service(DURABLE, "one", self.bodies("lab.txt", [LAB_BODY]))

    def bodies(self, name: str, lines: list[object]) -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(each) + "\n" for each in lines))
        return path

    def targets(self) -> list[Target]:
        """All of them; the one with two processes only if the service has that option."""
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


def king_county_houses(most: int) -> list[object]:
    """The first houses of the file as request bodies."""
    with gzip.open(KING_COUNTY, "rt", newline="") as file:
        rows = csv.DictReader(file)
        return [_house(row) for row, _ in zip(rows, range(most), strict=False)]


def _house(row: dict[str, str]) -> object:
    return {name: _value(text) for name, text in row.items() if name not in NOT_FEATURES}


def _value(text: str) -> object:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text
