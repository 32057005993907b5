"""Measure how many small faults in the domain and the repositories the tests detect: python -m benchmarks.mutants

A mutant is the code with one fault, such as `<=` for `<`. Each mutant replaces its file in a copy of the checkout, and
the tests that run the faulty lines run there until one fails. A survivor is a fault that no test detects.

This module is also the pytest plugin that records which lines each test runs. Recordings and results are stored in
build/mutants, under a digest of the sources and tests, so that an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from hashlib import sha256
from itertools import accumulate, chain
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import pytest
from coverage import Coverage

ROOT = Path(__file__).parents[1]
AREAS = {
    "domain": r"domain/.+",
    "memory": r"adapters/memory",
    "SQLite": r"adapters/sqlite/\w+",
    "spool": r"adapters/spool",
    "PostgreSQL": r"adapters/postgres/(predictions|writer|prediction_keys|recorded_sales)",
}
SOURCES = {
    str(path.relative_to(ROOT)): area
    for path in sorted((ROOT / "src").rglob("*.py"))
    for area, pattern in AREAS.items()
    if re.search(rf"housepredict/{pattern}\.py$", str(path))
}
TARGET = 0.85
BUDGET_S, FIRST_S = 120, 10
"""Seconds of tests that a mutant gets, and of those in the first of its two pytest runs, which imports fewer files."""
START_S, SLOWDOWN, MEMORY_BYTES = 60, 3, 8 << 30
"""Limits of a pytest run: its start, how many times as long as when recorded the tests may take, and address space."""

REPLACEMENTS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,), ast.And: (ast.Or,), ast.Or: (ast.And,), ast.Add: (ast.Sub,), ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.FloorDiv: (ast.Div,), ast.Mod: (ast.Mult,), ast.Pow: (ast.Mult,),
    ast.BitOr: (ast.BitAnd,), ast.BitAnd: (ast.BitOr,), ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,),
    ast.Break: (ast.Continue,), ast.Continue: (ast.Break,),
    ast.Raise: (ast.Pass,), ast.AugAssign: (ast.Pass,), ast.Delete: (ast.Pass,),
}  # fmt: skip
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "bases"}


class Mutant(NamedTuple):
    """A file with one fault, and the file without it, as `ast.unparse` writes them."""

    path: str
    lines: Sequence[int]  # from the first line of the statement to the last of the fault
    in_function: bool  # other code runs at import
    source: str
    mutated: str

    @property
    def patch(self) -> str:
        command = [sys.executable, "-m", "ruff", "format", "-"]
        runs = [subprocess.run(command, input=code.encode(), capture_output=True, check=True) for code in self[-2:]]
        before, after = (run.stdout.decode().splitlines(keepends=True) for run in runs)
        return "".join(unified_diff(before, after, f"a/{self.path}", f"b/{self.path}", n=1))


def apply_faults(parent: ast.AST, line: int = 1, in_function: bool = False) -> Iterator[tuple[Sequence[int], bool]]:
    """Apply each fault to a tree until the next iteration. Yields the `lines` and `in_function` of the mutant."""
    for name, value in ast.iter_fields(parent):
        children = value if isinstance(value, list) else [value]
        for number, child in enumerate(children):
            if name in SKIPPED_FIELDS or not isinstance(child, ast.AST):
                continue
            first = child.lineno if isinstance(child, ast.stmt) else line
            last = getattr(child, "end_lineno", getattr(parent, "end_lineno", first))
            is_body = name == "body" and isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for new in _replacements(parent, name, child, in_function or is_body):
                setattr(parent, name, [*children[:number], new, *children[number + 1 :]] if children is value else new)
                yield range(first, last + 1), in_function or is_body
                setattr(parent, name, value)
            if not _is_opaque(child):
                yield from apply_faults(child, first, in_function or is_body)


def _is_opaque(node: ast.AST) -> bool:
    """Whether a node stays as it is: texts, logs, types, and arguments that guard against mistakes in the code."""
    match node:
        case (
            ast.JoinedStr()
            | ast.BinOp(left=ast.JoinedStr() | ast.Constant(str()))
            | ast.BinOp(right=ast.JoinedStr() | ast.Constant(str()))
            | ast.Call(func=ast.Name("isinstance" | "cast" | "assert_never") | ast.Attribute(value=ast.Name("_log")))
            | ast.If(test=ast.Name("TYPE_CHECKING"))
            | ast.keyword(arg="repr" | "slots" | "strict")
        ):
            return True
    return False


def _replacements(parent: ast.AST, name: str, node: ast.AST, in_function: bool) -> Iterator[ast.AST]:
    """Yield what a fault has in place of a node, which is in the field `name` of its parent."""
    if in_function or not isinstance(node, ast.BitOr):  # at import, `|` joins types
        yield from (replacement() for replacement in REPLACEMENTS.get(type(node), ()))
    match node:
        case ast.Constant(bool(value) | int(value) | float(value)):
            yield ast.Constant(not value if isinstance(value, bool) else value + 1)
        case ast.Constant(str(text)):
            if in_function and isinstance(parent, ast.Compare | ast.MatchValue | ast.Subscript | ast.Set):
                yield ast.Constant(f"XX{text}")  # other texts are messages
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Name() | ast.Attribute() | ast.Call() | ast.Await() | ast.Subscript() | ast.NamedExpr():
            if isinstance(parent, ast.BoolOp) or name in {"test", "ifs", "guard"}:
                yield ast.UnaryOp(ast.Not(), node)
        case ast.Expr(ast.Call() | ast.Await() as call) if not _is_opaque(call):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Return(None):
            yield ast.Pass()
        case ast.Return(ast.expr() as result) if not isinstance(result, ast.Constant):
            yield ast.Return(ast.Constant(None))


def draw(seed: int, count: int, only: Sequence[str] = ("",)) -> list[Mutant]:
    """Draw mutants of the files with one of the parts `only` in their path. Returns them in source order."""
    trees = {path: ast.parse((ROOT / path).read_text()) for path in SOURCES if any(part in path for part in only)}
    faults = [(path, number) for path, tree in trees.items() for number, _ in enumerate(apply_faults(tree))]
    drawn = set(Random(seed).sample(faults, min(count, len(faults))))
    return [
        Mutant(path, *place, source, ast.unparse(tree))
        for path, tree in trees.items()
        for source in [ast.unparse(tree)]
        for number, place in enumerate(apply_faults(tree))
        if (path, number) in drawn
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-lines", type=Path, help="the file for the recording of the tests")
    parser.addoption("--tests-from", type=Path, help="a JSON list of the tests to run, in their order")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("record_lines"):
        config.pluginmanager.register(_Recorder(file))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if file := config.getoption("tests_from"):
        order = {name: number for number, name in enumerate(json.loads(file.read_text()))}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


class _Recorder:
    """Records the duration of each test, whether it passes, and the lines that it runs."""

    def __init__(self, file: Path) -> None:
        self.file, self.tests = file, dict[str, dict[str, Any]]()
        sources = [str(ROOT / path) for path in SOURCES]
        self.coverage = Coverage(data_file=None, config_file=False, include=sources)
        self.coverage.set_option("run:disable_warnings", ["no-data-collected"])
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.tests[nodeid] = {"seconds": 0.0, "passed": True, "lines": defaultdict(list)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests[report.nodeid]["seconds"] += report.duration
        self.tests[report.nodeid]["passed"] &= report.passed

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        for path in data.measured_files():
            for line, names in data.contexts_by_lineno(path).items():
                for name in self.tests.keys() & names:
                    self.tests[name]["lines"][str(Path(path).relative_to(ROOT))].append(line)
        if exitstatus != pytest.ExitCode.INTERRUPTED:
            self.file.write_text(json.dumps(self.tests))


def _run_pytest(checkout: Path, *arguments: str, limit_s: float = 0) -> tuple[int, str]:
    """Run pytest in a copy of the checkout. Returns its exit code and its output. A time limit of 0 means none."""
    environment = os.environ | {"COVERAGE_CORE": "ctrace", "PYTHONPATH": str(checkout / "src")}  # others lack contexts
    environment.setdefault("TEST_POSTGRES", "embedded")
    # on SIGINT, fixtures stop their servers
    limits = f"prlimit --as={MEMORY_BYTES} timeout --foreground --signal=INT --kill-after=20 {limit_s}".split()
    options = ["-pbenchmarks.mutants", "-pno:cacheprovider", "--hypothesis-profile=first-failure", "-q", "--tb=no"]
    command = [*limits, sys.executable, "-m", "pytest", *options, *arguments]
    with TemporaryFile("w+") as output:  # not a pipe, which a server that a test leaves behind would keep open
        process = subprocess.run(command, cwd=checkout, env=environment, stdout=output, stderr=output, check=False)
        output.seek(0)
        return process.returncode, output.read()


class RecordedTest(NamedTuple):
    """A test that passes without a fault."""

    file: str
    seconds: float
    name: str


def detect(checkout: Path, mutant: Mutant, tests: Sequence[RecordedTest]) -> str:
    """Run tests on a mutant. Returns the first that fails, or how else it was detected, or "" for a survivor."""
    first = bisect([*accumulate(test.seconds for test in tests)], FIRST_S) or 1
    with TemporaryDirectory(dir=checkout.parent, ignore_cleanup_errors=True) as folder:
        copy = shutil.copytree(checkout, Path(folder, "copy"), copy_function=os.link, symlinks=True)
        (copy / mutant.path).unlink()
        (copy / mutant.path).write_text(mutant.mutated)
        for part in filter(None, [tests[:first], tests[first:]]):
            (copy / "tests.json").write_text(json.dumps([test.name for test in part]))
            limit_s = START_S + SLOWDOWN * sum(test.seconds for test in part)
            files = sorted({test.file for test in part})
            code, output = _run_pytest(copy, "--tests-from=tests.json", "-x", *files, limit_s=limit_s)
            if failed := re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE):
                return failed[1]
            if code == pytest.ExitCode.INTERRUPTED:
                raise KeyboardInterrupt
            if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                return f"exit code {code}"  # 124: time limit exceeded
    return ""


def record(
    files: Sequence[str], checkout: Path, folder: Path, processes: int
) -> dict[str, dict[int, list[RecordedTest]]]:
    """Run the test files that have no recording. Returns the tests that run each line of each source file."""
    recordings = {file: folder / f"{file.replace('/', '.')}.json" for file in files}
    missing = [file for file in files if not recordings[file].exists()]
    print(f"recording the lines that {len(missing)} test files run", flush=True)
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(lambda file: _run_pytest(checkout, f"--record-lines={recordings[file]}", file), missing))
    lines: dict[str, dict[int, list[RecordedTest]]] = {path: defaultdict(list) for path in SOURCES}
    for file, recording in recordings.items():
        tests = json.loads(recording.read_text() if recording.exists() else f'{{"{file}": {{}}}}')
        for name, values in tests.items():
            if not values.get("passed"):
                print(f"left out, since it does not pass without a fault: {name}")
                continue
            test = RecordedTest(file, values["seconds"], name)
            for path, numbers in values["lines"].items():
                for number in numbers:
                    lines[path][number].append(test)
    return lines


def choose_tests(mutant: Mutant, lines: Mapping[int, Sequence[RecordedTest]]) -> list[RecordedTest]:
    """Return the tests that run a mutant's lines, or any line of its file if they run at import. The test file named
    like the module comes first, then the fastest files. Recorded durations add up to `BUDGET_S` at most.
    """
    tests = {*chain.from_iterable(lines.get(line, ()) for line in (mutant.lines if mutant.in_function else lines))}
    seconds: defaultdict[str, float] = defaultdict(float)
    for test in tests:
        seconds[test.file] += test.seconds
    name = f"test_{Path(mutant.path).name}"
    order = sorted(tests, key=lambda test: (Path(test.file).name != name, seconds[test.file], test))
    return order[: bisect([*accumulate(test.seconds for test in order)], BUDGET_S) or 1]


def run(mutants: Sequence[Mutant], options: argparse.Namespace) -> dict[Mutant, tuple[str, int]]:
    """Run the tests on each mutant. Returns how it was detected ("" for a survivor), and the number of chosen tests."""
    build = ROOT / "build/mutants"
    inputs = sorted(path for name in ("src", "tests") for path in (ROOT / name).rglob("*") if path.is_file())
    folder = build / sha256(b"".join(path.read_bytes() for path in inputs if path.suffix != ".pyc")).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    unneeded = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", ".housepredict", "build", "dist")
    shutil.rmtree(build / "checkout", ignore_errors=True)
    checkout = shutil.copytree(ROOT, build / "checkout", ignore=unneeded, symlinks=True)
    found = chain.from_iterable([*(ROOT / path).rglob("test_*.py")] or [ROOT / path] for path in options.tests)
    lines = record(sorted(str(path.relative_to(ROOT)) for path in found), checkout, folder, options.processes)
    log = folder / "results.jsonl"
    log.touch()
    known = dict(map(json.loads, log.read_text().splitlines()))

    def process(mutant: Mutant) -> tuple[str, int]:
        tests = choose_tests(mutant, lines[mutant.path])
        key = sha256(repr((mutant.mutated, [test.name for test in tests])).encode()).hexdigest()
        if tests and key not in known:
            known[key] = detect(checkout, mutant, tests)
            with log.open("a") as file:
                file.write(json.dumps([key, known[key]]) + "\n")
        return known.get(key, ""), len(tests)

    results = {}
    with ThreadPoolExecutor(options.processes) as pool:
        for mutant, result in zip(mutants, pool.map(process, mutants), strict=True):
            results[mutant] = result
            outcome = result[0] or "SURVIVED"
            print(f"{len(results)} of {len(mutants)}: {mutant.path}:{mutant.lines[0]}: {outcome}", flush=True)
    return results


def report(results: Mapping[Mutant, tuple[str, int]]) -> str:
    """Return a table of the areas, and the survivors as patches."""
    rows = ["", "| | mutants | killed | survived | killed |", "|---|---|---|---|---|"]
    for area in [*AREAS, "all"]:
        if tests := [test for mutant, (test, _) in results.items() if area in (SOURCES[mutant.path], "all")]:
            n, survived = len(tests), tests.count("")
            rows.append(f"| {area} | {n} | {n - survived} | {survived} | {1 - survived / n:.1%} |")
    for mutant, (test, count) in results.items():
        if not test:
            rows.append(f"\n# {mutant.path}:{mutant.lines[0]} survived {count} tests\n{mutant.patch}")
    return "\n".join(rows)


def main() -> int:
    """Return 0 if the tests kill enough of the mutants."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=18, help="for drawing the mutants (%(default)s)")
    parser.add_argument("--count", type=int, default=400, help="number of mutants (%(default)s)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART", help="part of the paths of files to mutate")
    parser.add_argument("--tests", nargs="+", default=["tests/unit", "tests/integration"], metavar="PATH")
    parser.add_argument("--processes", type=int, default=1, help="mutants at a time (%(default)s)")
    parser.add_argument("--list", action="store_true", help="print the mutants, and run no test")
    options = parser.parse_args()
    mutants = draw(options.seed, options.count, options.only)
    if not mutants:
        parser.error(f"--only: no mutated file has {' or '.join(options.only)} in its path")
    if options.list:
        print(*(mutant.patch for mutant in mutants), sep="\n")
        return 0
    results = run(mutants, options)
    print(report(results))
    return int(sum(bool(test) for test, _ in results.values()) < TARGET * len(results))


if __name__ == "__main__":
    sys.exit(main())
