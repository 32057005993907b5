"""Where the service spends its time under load, seen by py-spy.

Only threads that hold the interpreter's lock are counted: those that wait would bury the rest.
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

LONGEST = 30  # functions in the list
MARGIN = 5  # seconds that py-spy needs to begin and end


def record(target: Target, server: Server, seconds: int, folder: Path) -> str:
    """Record twice under load, as a flame graph (profile.svg) and as stacks to count; gives the list (profile.txt)."""
    folder.mkdir(parents=True, exist_ok=True)
    rates: list[float] = []
    stacks = target.bodies.with_suffix(".stacks")
    for form, path in (("flamegraph", folder / "profile.svg"), ("raw", stacks)):
        load = begin_load(server.port, target.bodies, TYPICAL, seconds + MARGIN)
        try:
            _py_spy(server.process.pid, form, path, seconds)
        finally:
            rates.append(end_load(load).rate)
    listed = f"{target.name}, {TYPICAL} connections, {min(rates):,.0f} answers a second while it was watched\n\n"
    listed += top(stacks.read_text().splitlines())
    (folder / "profile.txt").write_text(listed)
    graph = folder / "profile.svg"
    graph.write_text(without_commands(graph.read_text()))
    return listed


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
    """A flame graph without the command lines of py-spy and of the service, which name folders of the machine."""
    graph = re.sub(r'(<text id="title"[^>]*>)[^<]*', r"\1housepredict under load", graph)
    return re.sub(r"(process \d+):[^<(]*", r"\1 ", graph)


def top(stacks: Iterable[str]) -> str:
    """The functions by the share of samples in which they were at work themselves, and in which they were called.

    A stack is a line `outermost;...;innermost count`.
    """
    itself: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        functions = frames.split(";")
        itself[functions[-1]] += int(count)
        within.update(dict.fromkeys(functions, int(count)))
    samples = itself.total() or 1
    lines = ["  self   total  function"]
    lines += [
        f"{100 * own / samples:5.1f} %{100 * within[name] / samples:6.1f} %  {name}"
        for name, own in itself.most_common(LONGEST)
    ]
    return "\n".join(lines) + "\n"
