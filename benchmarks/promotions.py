"""Measure how long a promotion takes to reach all workers: python -m benchmarks.promotions

Two services with two workers each share a PostgreSQL database, and are under load, while two King County versions are
promoted in turn. Times are from the commit of the promotion until the metrics of both services show the new generation
in all four workers; first with announcements and polling, then with polling only.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from benchmarks.throughput import postgres
from benchmarks.throughput.processes import begin_load, end_load, serving
from benchmarks.throughput.targets import KING_COUNTY, king_county_houses
from housepredict.adapters.postgres.model_store import PostgresModels
from housepredict.adapters.postgres.persistent_connection import ModelDatabase

MOVES, SERVICES, WORKERS, CONNECTIONS = 20, 2, 2, 32


def main() -> None:
    with tempfile.TemporaryDirectory() as name, postgres.running() as server:
        folder, conninfo = Path(name), postgres.create_database(server, "promotions")
        where = {"HOUSEPREDICT_DATABASE_URL": conninfo, "HOUSEPREDICT_WORKERS": str(WORKERS)}
        names = [_train(folder / str(seed), seed, conninfo) for seed in (1, 2)]
        bodies = folder / "bodies"
        bodies.write_text("".join(f"{json.dumps(house)}\n" for house in king_county_houses(500)))
        with ExitStack() as until:
            ports = [postgres.free_port() for _ in range(SERVICES)]
            for number, port in enumerate(ports):
                command = (sys.executable, "-m", "housepredict", "serve", "--port", str(port))
                until.enter_context(serving(command, where | {"HOUSEPREDICT_DATA_DIR": f"{folder}/{number}"}, port))
            connection = until.enter_context(closing(ModelDatabase.at(conninfo)))
            for title in ("announcements and polling", "polling only"):
                loads = [begin_load(port, bodies, CONNECTIONS // SERVICES, 600) for port in ports]
                seconds = [_move(PostgresModels(connection), ports, names[move % 2]) for move in range(MOVES)]
                for load in loads:
                    load.send_signal(signal.SIGINT)
                runs = [end_load(load) for load in loads]
                failed = sum(run.not_2xx + run.socket_errors for run in runs)
                print(
                    f"{title}: median {median(seconds):.3f} s, maximum {max(seconds):.3f} s of {MOVES} promotions;"
                    f" {failed:,} of {sum(run.answers for run in runs):,} requests failed"
                )
                postgres.execute(conninfo, "DROP TRIGGER IF EXISTS tell_of_promotions ON model_pointer")


def _move(models: PostgresModels, ports: Sequence[int], name: str) -> float:
    models.promote(name)
    committed = time.monotonic()
    generation = models.pointer().generation
    while time.monotonic() < committed + 60:
        if all(_generations(port) == [generation] * WORKERS for port in ports):
            return time.monotonic() - committed
        time.sleep(0.01)
    raise SystemExit(f"generation {generation} did not reach all workers within a minute")


def _generations(port: int) -> list[int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return [
        int(float(value)) for value in re.findall(r"^housepredict_model_generation\{.*\} (\S+)$", text, re.MULTILINE)
    ]


def _train(folder: Path, seed: int, conninfo: str) -> str:
    done = subprocess.run(
        [
            sys.executable, "-m", "housepredict", "train", KING_COUNTY, "--price", "price", "--effort", "low", "--json",
            "--seed", str(seed), "--promote", "always", "--data-dir", str(folder),
        ],
        check=True, capture_output=True, text=True, env=os.environ | {"HOUSEPREDICT_DATABASE_URL": conninfo},
    )  # fmt: skip
    return str(json.loads(done.stdout)["model_version"])


if __name__ == "__main__":
    main()
