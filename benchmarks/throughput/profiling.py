"""Profile the service under load with py-spy.

Only threads that hold the interpreter's lock are counted: waiting threads would hide the others.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.throughput.processes import Server, begin_load, end_load
from benchmarks.throughput.scenarios import TYPICAL
from benchmarks.throughput.targets import Target

MAX_FUNCTIONS = 30
MARGIN_S = 5  # for py-spy to start and stop


def record(target: Target, server: Server, seconds: int, folder: Path) -> str:
    """Record a flame graph (profile.svg) and a list of functions (profile.txt) under load. Return the list."""
    folder.mkdir(parents=True, exist_ok=True)
    rates: list[float] = []
    stacks = target.bodies.with_suffix(".stacks")
    for form, path in (("flamegraph", folder / "profile.svg"), ("raw", stacks)):
        load = begin_load(server.port, target.bodies, TYPICAL, seconds + MARGIN_S)
        try:
            _py_spy(server.process.pid, form, path, seconds)
        finally:
            rates.append(end_load(load).rate)
    table = f"{target.name}, {TYPICAL} connections, {min(rates):,.0f} requests/s while profiled\n\n"
    table += top(stacks.read_text().splitlines())
    (folder / "profile.txt").write_text(table)
    graph = folder / "profile.svg"
    graph.write_text(without_commands(graph.read_text()))
    return table


def _py_spy(process: int, form: str, path: Path, seconds: int) -> None:
    program = Path(sys.executable).with_name("py-spy")
    subprocess.run(
        [
            program, "record", "--pid", str(process), "--subprocesses", "--gil", "--function", "--rate", "200",
            "--duration", str(seconds), "--format", form, "--output", path,
        ],
        check=True, capture_output=True,
    )  # fmt: skip


def without_commands(graph: str) -> str:
    """Remove the command lines of py-spy and the service from a flame graph, since they contain local paths."""
    graph = re.sub(r'(<text id="title"[^>]*>)[^<]*', r"\1housepredict under load", graph)
    return re.sub(r"(process \d+):[^<(]*", r"\1 ", graph)


def top(stacks: Iterable[str]) -> str:
    """Return a table of functions with their own and total shares of the samples.

    A stack is a line `outermost;...;innermost count`.
    """
    self_counts: Counter[str] = Counter()
    total_counts: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        functions = frames.split(";")
        self_counts[functions[-1]] += int(count)
        total_counts.update(dict.fromkeys(functions, int(count)))
    samples = self_counts.total() or 1
    lines = ["  self   total  function"]
    lines += [
        f"{100 * count / samples:6.1f}%{100 * total_counts[name] / samples:7.1f}%  {name}"
        for name, count in self_counts.most_common(MAX_FUNCTIONS)
    ]
    return "\n".join(lines) + "\n"
