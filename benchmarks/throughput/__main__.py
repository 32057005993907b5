"""`make bench`: start a database, the service and the baselines, put them under load in turn, and report results."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.throughput import outage, postgres, profiling, report
from benchmarks.throughput.processes import serving, wrk
from benchmarks.throughput.runs import Outcome
from benchmarks.throughput.scenarios import (
    COMPARISONS,
    PLACES,
    Effort,
    measure_in_rounds,
    memory_of,
    ready_in,
)
from benchmarks.throughput.targets import BOOSTED, DURABLE, Bench, Target

RESULTS = Path("benchmarks/results")
QUICK = Effort(rounds=1, seconds=2, warm_up=1)


def main() -> int:
    """Return 0 if everything ran, whatever the results are."""
    options = _options()
    wrk()
    effort = QUICK if options.quick else Effort(options.rounds, options.seconds)
    folder = options.results or (RESULTS / "scratch" if options.quick else RESULTS)
    with postgres.running() as server, tempfile.TemporaryDirectory(prefix="housepredict-bench-") as temporary:
        bench = Bench(options.python, Path(temporary), server)
        if options.profile:
            print(_profile(bench, effort, folder))
            return 0
        _measure(bench, effort, folder)
    return 0


def _profile(bench: Bench, effort: Effort, folder: Path) -> str:
    target = bench.durable()
    with serving(target.command, target.environment, target.port) as running:
        target.run(32, effort.warm_up)
        return profiling.record(target, running, effort.seconds, folder)


def _measure(bench: Bench, effort: Effort, folder: Path) -> None:
    print("training the King County models", flush=True)
    targets = bench.targets()
    by_name = {target.name: target for target in targets}
    alone = [ready_in(by_name[BOOSTED], effort.rounds), memory_of(by_name[DURABLE], effort)]
    with ExitStack() as servers:
        _start(targets, servers)
        rounds = measure_in_rounds(targets, PLACES, effort, _say)
        outage_outcomes, outage_runs = outage.measure(by_name[DURABLE], bench.server, effort, _say)
    outcomes: list[Outcome] = [*(comparison.outcome(rounds) for comparison in COMPARISONS), *alone, *outage_outcomes]
    [[version]] = postgres.execute(bench.server.conninfo, "SHOW server_version")
    about = report.facts(bench.python, sys.executable, str(version))
    how = f"Medians of {effort.rounds} interleaved rounds of {effort.seconds} s."
    report.write(folder, about, how, outcomes, rounds, outage_runs)
    print((folder / "throughput.md").read_text())
    print(f"written to {folder}")


def _start(targets: Sequence[Target], servers: ExitStack) -> None:
    for target in targets:
        if target.is_served:
            _say(f"starting: {target.name}")
            servers.enter_context(serving(target.command, target.environment, target.port))


def _say(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (%(default)s)")
    parser.add_argument("--seconds", type=int, default=8, help="seconds per target and round (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, only to check that everything runs")
    parser.add_argument("--profile", action="store_true", help="profile the service with py-spy instead")
    parser.add_argument("--python", default=".venv/bin/python", help="interpreter of the service (%(default)s)")
    parser.add_argument("--results", type=Path, help=f"output folder ({RESULTS}; with --quick {RESULTS}/scratch)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
