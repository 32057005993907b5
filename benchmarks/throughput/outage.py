"""Stop and restart PostgreSQL under load, and check that no request fails and no prediction is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import psycopg

from benchmarks.throughput import postgres
from benchmarks.throughput.processes import begin_load, end_load
from benchmarks.throughput.runs import Outcome, Run
from benchmarks.throughput.scenarios import TYPICAL, Effort
from benchmarks.throughput.targets import Target

AT_LEAST = 0.5  # of the normal rate


def measure(
    target: Target, server: postgres.Server, effort: Effort, say: Callable[[str], None]
) -> tuple[list[Outcome], dict[str, list[Run]]]:
    """Run rounds of four phases (normal, stopping, stopped, returning), and count the rows after each round."""
    assert target.database
    runs: dict[str, list[Run]] = {"normal": [], "stopping": [], "stopped": [], "returning": []}
    lost: list[str] = []
    phases: dict[str, Callable[[], None] | None] = {
        "normal": None, "stopping": server.stop, "stopped": None, "returning": server.start,
    }  # fmt: skip
    for number in range(effort.rounds):
        postgres.execute(target.database, f"TRUNCATE {target.table}")
        for phase, action in phases.items():
            run = _under_load(target, effort.seconds, action)
            runs[phase].append(run)
            say(f"round {number + 1}  PostgreSQL: {phase:10}{run.rate:10,.1f} /s  {_failed(run)} failed")
        if not runs["stopped"][-1].answers:
            lost.append("no request was answered while PostgreSQL was stopped")
        lost += _lost(target, sum(phase_runs[-1].succeeded for phase_runs in runs.values()), len(phases))
    failed = sum(_failed(run) for phase_runs in runs.values() for run in phase_runs)
    ratios = [stopped.rate / normal.rate for stopped, normal in zip(runs["stopped"], runs["normal"], strict=True)]
    none_failed = Outcome(
        "failed requests while PostgreSQL is stopped and restarted",
        failed,
        at_most=0,
        unit="",
        notes=tuple(lost),
        faulty=bool(lost),
    )
    as_fast = Outcome(
        "rate without PostgreSQL ÷ normal rate, 32 connections", median(ratios), min(ratios), max(ratios), AT_LEAST
    )
    return [none_failed, as_fast], runs


def _under_load(target: Target, seconds: int, action: Callable[[], None] | None) -> Run:
    load = begin_load(target.port, target.bodies, TYPICAL, seconds)
    try:
        if action:
            time.sleep(seconds / 4)
            action()
    finally:
        run = end_load(load)
    return run


def _failed(run: Run) -> int:
    return run.not_2xx + run.socket_errors


def _lost(target: Target, acknowledged: int, phases: int) -> list[str]:
    """Report fewer rows than responses, or more than those and the requests in flight at the end of each phase."""
    assert target.database
    try:
        stored = postgres.settled_count(target.database, target.table, acknowledged)
    except psycopg.Error as error:
        return [f"the rows could not be counted: {error}"]
    if not 0 <= stored - acknowledged <= phases * TYPICAL:
        return [f"{stored:,} rows for {acknowledged:,} responses"]
    return []
