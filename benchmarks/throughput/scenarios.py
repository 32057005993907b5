"""The claims and their measurements: comparisons under load, start time and memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median

from attrs import frozen

from benchmarks.throughput.processes import serving
from benchmarks.throughput.runs import Comparison, Outcome, Place, Run
from benchmarks.throughput.targets import (
    BATCH,
    BOOSTED,
    CALLABLE,
    DURABLE,
    DURABLE_2,
    FASTAPI,
    INSERT,
    LAB,
    LINEAR,
    MEMORY,
    STARLETTE,
    Target,
)

CONNECTIONS = (1, 32, 128)
TYPICAL = 32
BATCHES_AT_ONCE = 4

PLACES = (
    *(
        Place(target, connections)
        for connections in CONNECTIONS
        for target in (LAB, DURABLE, DURABLE_2, MEMORY, FASTAPI, STARLETTE, CALLABLE)
    ),
    Place(LINEAR, TYPICAL),
    Place(BOOSTED, TYPICAL),
    Place(BATCH, BATCHES_AT_ONCE),
    Place(INSERT, BATCHES_AT_ONCE),
)

BETTER = (DURABLE, DURABLE_2)
COMPARISONS = (
    Comparison("durable ÷ the tutorial's design, 1 connection", BETTER, LAB, 1, 12),
    Comparison("durable ÷ the tutorial's design, 32 connections", BETTER, LAB, 32, 45),
    Comparison("durable ÷ the tutorial's design, 128 connections", BETTER, LAB, 128, 45),
    Comparison("durable ÷ bare Starlette route, 1 process each, 32 connections", [DURABLE], STARLETTE, 32, 1.0),
    Comparison("durable ÷ bare Starlette route, 1 process each, 128 connections", [DURABLE], STARLETTE, 128, 1.0),
    Comparison("durable ÷ in-memory storage, 32 connections", [DURABLE], MEMORY, 32, 0.75),
    Comparison("durable ÷ in-memory storage, 128 connections", [DURABLE], MEMORY, 128, 0.75),
    Comparison("p99 of the tutorial's design ÷ p99 durable, 32 connections", BETTER, LAB, 32, 20, "p99_ms"),
    Comparison("boosted ÷ linear model, King County, all columns", [BOOSTED], LINEAR, TYPICAL, 0.7),
    Comparison("batches of 1,000 houses ÷ a bare INSERT of them", [BATCH], INSERT, BATCHES_AT_ONCE, 0.4),
)


@frozen
class Effort:
    """The number of rounds, and the seconds of load per place and round, after `warm_up` seconds."""

    rounds: int
    seconds: int
    warm_up: int = 2


def measure_in_rounds(
    targets: Sequence[Target], places: Sequence[Place], effort: Effort, say: Callable[[str], None]
) -> dict[Place, list[Run]]:
    """Measure all places in each round, in rotating order, so that disturbances affect all of them alike."""
    by_name = {target.name: target for target in targets}
    places = [place for place in places if place.target in by_name]
    for name, target in by_name.items():
        say(f"warming up: {name}")
        target.run(TYPICAL if target.rows_an_answer == 1 else BATCHES_AT_ONCE, effort.warm_up)
    rounds: dict[Place, list[Run]] = defaultdict(list)
    for number in range(effort.rounds):
        turn = number * len(places) // effort.rounds
        for place in [*places[turn:], *places[:turn]]:
            run = by_name[place.target].run(place.connections, effort.seconds)
            rounds[place].append(run)
            faults = "".join(f"  !! {fault}" for fault in run.faults)
            say(
                f"round {number + 1}  {place.target:40}{place.connections:5} connections{run.rate:10,.1f} /s"
                f"{run.p50_ms:10.2f}{run.p99_ms:10.2f} ms{faults}"
            )
    return rounds


def ready_in(target: Target, times: int) -> Outcome:
    """Measure the time from the start of the process to the first 200 on /health/ready."""
    times_s = []
    for _ in range(times):
        with serving(target.command, target.environment, target.port) as server:
            times_s.append(server.seconds_to_ready)
    name = "ready after start, boosted model"
    return Outcome(name, median(times_s), min(times_s), max(times_s), at_most=1.0, unit="s")


def memory_of(target: Target, effort: Effort) -> Outcome:
    """Measure the memory of the service after some load, without other processes that share its libraries."""
    memory_mb = []
    for _ in range(effort.rounds):
        with serving(target.command, target.environment, target.port) as server:
            target.run(TYPICAL, effort.warm_up)
            memory_mb.append(server.pss_mb)
    low, high = min(memory_mb), max(memory_mb)
    return Outcome("memory per process, linear model", median(memory_mb), low, high, at_most=60.0, unit="MB PSS")
