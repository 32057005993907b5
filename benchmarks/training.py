"""Measure how much a training slows down estimates: python -m benchmarks.training

A service with one process, PostgreSQL and a King County model gets requests at half of its maximum rate. The 99th
percentile of response times is compared in windows before, during and after a training on the King County sales with
default settings, started over HTTP.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.throughput import postgres
from benchmarks.throughput.processes import begin_load, end_load, serving
from benchmarks.throughput.runs import Run
from benchmarks.throughput.targets import KING_COUNTY, Bench, king_county_houses

CONNECTIONS, SECONDS, WINDOWS = 64, 8, 4
TRAIN = "/train?price=price&promote=never"


def main() -> None:
    with tempfile.TemporaryDirectory() as name, postgres.running() as server:
        bench = Bench(sys.executable, Path(name), server)
        bodies = bench.bodies("king-county.txt", king_county_houses(500))
        target = bench.service("housepredict", "training", bodies, data=bench.train("boosting"))
        # the service copies the model to the database, and loopback clients may train
        with serving(target.command, target.environment, target.port):
            target.run(32, 2)
            capacity = target.run(32, SECONDS).rate
            pause = 1000 * CONNECTIONS / (capacity / 2)

            def window() -> Run:
                return end_load(begin_load(target.port, bodies, CONNECTIONS, SECONDS, pause))

            window()
            before = [window() for _ in range(WINDOWS)]
            training = _start(target.port)
            during = []
            while _state(target.port, training) == "running":
                run = window()
                if _state(target.port, training) == "running":
                    during.append(run)
            after = [window() for _ in range(WINDOWS)]
            ended = _state(target.port, training)
    _print_results(capacity, ended, {"before": before, "during": during, "after": after})


def _start(port: int) -> str:
    """Start a training. Return the path of its status."""
    with gzip.open(KING_COUNTY) as sales:
        headers = {"Content-Type": "text/csv", "Prefer": "respond-async"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{TRAIN}", sales.read(), headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers["Location"])


def _state(port: int, training: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{training}") as answer:
        document: dict[str, Any] = json.load(answer)
    return str(document["state"])


def _print_results(capacity: float, state: str, windows: dict[str, list[Run]]) -> None:
    print(f"capacity: {capacity:,.0f} requests/s; the training {state}")
    for title, runs in windows.items():
        p99 = [run.p99_ms for run in runs]
        faults = sum(run.not_2xx + run.socket_errors for run in runs)
        print(
            f"{title}: {len(runs)} windows, {median(run.rate for run in runs):,.0f} requests/s, p50"
            f" {median(run.p50_ms for run in runs):.2f} ms, p99 {median(p99):.2f} ms"
            f" ({min(p99):.2f} to {max(p99):.2f}), {faults} failed"
        )
    quiet = median(run.p99_ms for run in [*windows["before"], *windows["after"]])
    print(f"p99 during ÷ without: {median(run.p99_ms for run in windows['during']) / quiet:.2f}")


if __name__ == "__main__":
    main()
