"""How many small faults in the domain and the repositories the tests notice: python -m benchmarks.mutants

A mutant is the code with one fault. Mutants are drawn by a seed, and each is given to the tests that run its lines, the
fastest first, until one fails. This happens on copies in build/mutants. An interrupted run goes on where it was: a
killed mutant stays killed until its file changes, and a survivor is given to the test files that are new or changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from random import Random

from attrs import asdict

from benchmarks.mutants.operators import Mutant, mutants_of
from benchmarks.mutants.plugin import digest
from benchmarks.mutants.runs import Result, TestMap, Tree, try_mutant

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build/mutants"
RESULTS = WORK / "results.jsonl"
AREAS = {
    "domain": ["domain/**/*.py"],
    "memory": ["adapters/memory*.py"],
    "SQLite": ["adapters/sqlite*.py"],
    "spool": ["adapters/spooled/*.py"],
    "PostgreSQL": [f"adapters/postgres/{name}.py" for name in ("repository", "writer", "keys", "erasures", "sales")],
}
TARGET = 0.85

Identity = tuple[str, str, str]
"""Of a mutant in the list of equivalent ones: its file, its function or class, and the change."""


def main() -> int:
    """Returns 0 if enough of the mutants are killed."""
    options = _options()
    if options.fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    mutants = draw(all_mutants(), options.seed, options.count, options.only)
    if options.list:
        print(*(mutant.diff for mutant in mutants), sep="\n")
        return 0
    reasons = read_equivalent()
    results = _run([mutant for mutant in mutants if identify(mutant) not in reasons], options)
    print(report(mutants, results, reasons))
    return int(_share([*results.values()]) < TARGET)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=18, help="draws the mutants (%(default)s)")
    parser.add_argument("--count", type=int, default=400, help="of mutants (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="PART", help="of files with such a part in their path"
    )
    parser.add_argument("--tests", nargs="+", default=["tests/unit", "tests/integration"], metavar="PATH")
    parser.add_argument("--budget", type=float, default=120, metavar="SECONDS", help="of tests a mutant (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="drop the results of earlier runs")
    parser.add_argument("--list", action="store_true", help="print the mutants, and run none")
    return parser.parse_args()


def area_of(path: str) -> str:
    """The area that a file belongs to."""
    return next(area for area, paths in _paths().items() if path in paths)


@cache
def _paths() -> dict[str, list[str]]:
    package = ROOT / "src/housepredict"
    return {
        area: sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in package.glob(pattern))
        for area, patterns in AREAS.items()
    }


def all_mutants() -> list[Mutant]:
    """Return every mutant of the files in question."""
    return [
        mutant
        for paths in _paths().values()
        for path in paths
        for mutant in mutants_of(path, (ROOT / path).read_text())
    ]


def draw(mutants: Sequence[Mutant], seed: int, count: int, only: Sequence[str] = ("",)) -> list[Mutant]:
    """Draw mutants of files with one of these parts in their path. Returns them in the order of their places."""
    fitting = [mutant for mutant in mutants if any(part in mutant.path for part in only)]
    chosen = Random(seed).sample(range(len(fitting)), min(count, len(fitting)))
    return [fitting[number] for number in sorted(chosen)]


def identify(mutant: Mutant) -> Identity:
    """Return what a mutant is in the list of equivalent ones."""
    return mutant.path, mutant.scope, mutant.change


def read_equivalent() -> dict[Identity, str]:
    """Read which mutants behave as the code does, so that no test can notice them, and why."""
    entries = tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text())["mutant"]
    return {(each["path"], each["scope"], each["change"].strip()): each["reason"] for each in entries}


def _run(mutants: Sequence[Mutant], options: argparse.Namespace) -> dict[Mutant, Result]:
    """Give each mutant to the tests that it has not been given to."""
    trees: SimpleQueue[Tree] = SimpleQueue()
    copies = [Tree.copy(ROOT, WORK / f"tree-{number}") for number in range(options.processes)]
    for tree in copies:
        trees.put(tree)
    sources = {path: (ROOT / path).read_text() for paths in _paths().values() for path in paths}
    lines = TestMap.make(copies[0], WORK / "lines", options.tests, sources, options.processes)
    for name in lines.failed:
        print(f"does not pass on the code as it is, and is left out: {name}")
    earlier = _read_results()

    def run(mutant: Mutant) -> Result:
        result = earlier.get(_key(mutant), Result())
        tests = lines.tests_of(mutant)
        new = [test for test in tests if result.files.get(test.file) != lines.digests[test.file]]
        if result.by or not new:
            return result
        tree = trees.get()
        try:
            by, ran = try_mutant(tree, mutant, new, options.budget)
        finally:
            trees.put(tree)
        files = {test.file: lines.digests[test.file] for test in tests}
        return Result(by, len(tests) - len(new) + ran, len(tests), files)

    results = {}
    with ThreadPoolExecutor(options.processes) as pool, RESULTS.open("a") as file:
        pending = {pool.submit(run, mutant): mutant for mutant in mutants}
        for number, done in enumerate(as_completed(pending), 1):
            mutant, result = pending[done], done.result()
            results[mutant] = result
            if earlier.get(_key(mutant)) != result:
                file.write(json.dumps({"mutant": _key(mutant), **asdict(result)}) + "\n")
                file.flush()
            place = f"{mutant.path}:{mutant.lines.start} {mutant.operator}"
            print(f"{number} of {len(mutants)}: {place}: {result.by or 'SURVIVED'}", flush=True)
    return results


def _key(mutant: Mutant) -> str:
    return digest(mutant.path, mutant.source, mutant.mutated)


def _read_results() -> dict[str, Result]:
    if not RESULTS.exists():
        return {}
    entries = map(json.loads, RESULTS.read_text().splitlines())
    return {entry.pop("mutant"): Result(**entry) for entry in entries}


def report(mutants: Sequence[Mutant], results: Mapping[Mutant, Result], reasons: Mapping[Identity, str]) -> str:
    """Return a table, and the survivors as patches."""
    lines = [
        "",
        "| | mutants | equivalent | killed | survived | without a test | killed |",
        "|---|---|---|---|---|---|---|",
    ]
    survivors = [mutant for mutant in mutants if mutant in results and not results[mutant].by]
    for area in [*AREAS, "all"]:
        drawn = [mutant for mutant in mutants if area in (area_of(mutant.path), "all")]
        if drawn:
            tried = [results[mutant] for mutant in drawn if mutant in results]
            killed = sum(bool(result.by) for result in tried)
            untested = sum(not result.known for result in tried)
            counts = (len(drawn), len(drawn) - len(tried), killed, len(tried) - killed - untested, untested)
            lines.append(f"| {area} | {' | '.join(map(str, counts))} | {_share(tried):.1%} |")
    lines += ["", *(f"# {mutant.scope}: {_tested(results[mutant])}\n{mutant.diff}" for mutant in survivors)]
    lines += [
        f"# equivalent: {reasons[identify(mutant)]}\n{mutant.diff}" for mutant in mutants if mutant not in results
    ]
    return "\n".join(lines)


def _tested(result: Result) -> str:
    return f"survived {result.ran} of {result.known} tests"


def _share(results: Sequence[Result]) -> float:
    return sum(bool(result.by) for result in results) / max(len(results), 1)


if __name__ == "__main__":
    sys.exit(main())
