"""Running the tests that matter for a mutant, on a copy of the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path

from attrs import field, frozen

from benchmarks.mutants.operators import Mutant
from benchmarks.mutants.plugin import digest

START_S = 60
"""What it may take until the first test of a mutant runs."""
SLOWER = 3
"""How many times as long as when it was recorded a test may take."""
FIRST_S = 10
"""Seconds of tests that run before the others: many files take long to import."""


@frozen
class Tree:
    """A copy of the checkout, in which one file at a time is mutated."""

    folder: Path

    @classmethod
    def copy(cls, root: Path, folder: Path) -> Tree:
        """Copy what git tracks, and what it would, as it is now."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
        shutil.rmtree(folder, ignore_errors=True)
        for name in filter(None, names):
            if (root / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name)
        return cls(folder)

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Put the mutant in place of its file. Afterwards the file has its old time, for its bytecode to be used."""
        path = self.folder / mutant.path
        times = path.stat()
        path.write_text(mutant.mutated)
        try:
            yield
        finally:
            path.write_text(mutant.source)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def pytest(self, *arguments: str, limit_s: float | None = None, **variables: str) -> tuple[int | None, str]:
        """Run pytest. Returns its exit code, None if it ran out of time, and its output."""
        environment = os.environ | {
            "CI": "true",  # Hypothesis draws the same examples each time
            "COVERAGE_CORE": "ctrace",  # the one that can tell tests apart
            "HOUSEPREDICT_TEST_POSTGRES": os.environ.get("HOUSEPREDICT_TEST_POSTGRES", "embedded"),
            "PYTHONPATH": str(self.folder / "src"),
            **variables,
        }
        command = [sys.executable, "-m", "pytest", "-p", "benchmarks.mutants.plugin", *arguments]
        output = self.folder.with_suffix(".txt")
        with output.open("w") as file:  # a pipe would stay open in servers that tests leave behind
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=file, stderr=file, start_new_session=True
            )
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
                _end(process)
            except BaseException:
                _end(process)
                raise
        return code, output.read_text(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # pytest then stops the servers that it started
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@frozen
class Test:
    """A test, its file, and how long it took."""

    name: str
    file: str
    seconds: float


@frozen
class TestMap:
    """Which tests run which lines. Files that are as they were when they were recorded are not run again."""

    digests: Mapping[str, str]
    """Of the test files."""
    failed: Sequence[str]
    """Tests that did not pass on the code as it is, and show nothing of a mutant."""
    _tests: Mapping[str, Mapping[int, set[Test]]] = field(repr=False)
    """By source file and line."""
    _texts: Mapping[str, Sequence[str]] = field(repr=False)

    @classmethod
    def make(
        cls, tree: Tree, folder: Path, paths: Sequence[str], targets: Mapping[str, str], processes: int
    ) -> TestMap:
        """Read what was recorded of the test files, and record what was not, or of another state of the code."""
        sources = sorted((tree.folder / "src").rglob("*.py"))
        folder /= digest(*(path.read_text() for path in sources))
        found = sorted(file for path in paths for file in _test_files(tree.folder / path))
        files = {str(file.relative_to(tree.folder)): digest(file.read_text()) for file in found}
        records = {file: folder / f"{file.replace('/', '.')}.{state}.json" for file, state in files.items()}
        if missing := [file for file, record in records.items() if not record.exists()]:
            print(f"recording what {len(missing)} test files run", flush=True)
            _, output = tree.pytest(
                f"--lines-to={folder}",
                *[
                    "--numprocesses",
                    str(processes if processes > 1 else 0),
                    "--dist",
                    "loadfile",
                    "-q",
                    "--tb=short",
                    *missing,
                ],
            )
            print(output.strip().rpartition("\n")[2])
        tests: defaultdict[str, defaultdict[int, set[Test]]] = defaultdict(lambda: defaultdict(set))
        failed: list[str] = []
        for file, record in records.items():
            if not record.exists():
                failed.append(file)
                continue
            told = json.loads(record.read_text())
            failed += told["not passed"]
            known = [Test(name, file, seconds) for name, seconds in told["tests"]]
            for path in targets.keys() & told["lines"].keys():
                for line, numbers in told["lines"][path].items():
                    tests[path][int(line)].update(known[number] for number in numbers)
        return cls(files, failed, tests, {path: text.splitlines() for path, text in targets.items()})

    def tests_of(self, mutant: Mutant) -> list[Test]:
        """The tests that may notice a mutant: the file named like its module first, then the fastest files."""
        if mutant.defines:
            # what an import runs, no test runs alone: those that run lines with a name that it defines
            name = re.compile(rf"\b({'|'.join(mutant.defines)})\b")
            places = [
                (path, number)
                for path, lines in self._texts.items()
                for number, line in enumerate(lines, 1)
                if name.search(line)
            ]
        else:
            places = [(mutant.path, line) for line in mutant.lines]
        found = set(chain.from_iterable(self._tests.get(path, {}).get(line, ()) for path, line in places))
        if mutant.defines and not found:
            found = set(chain.from_iterable(self._tests.get(mutant.path, {}).values()))
        seconds: defaultdict[str, float] = defaultdict(float)
        for test in found:
            seconds[test.file] += test.seconds
        stem = Path(mutant.path).stem
        return sorted(
            found,
            key=lambda test: (Path(test.file).stem != f"test_{stem}", seconds[test.file], test.file, test.seconds),
        )


def _test_files(path: Path) -> Sequence[Path]:
    return [path] if path.is_file() else [*path.rglob("test_*.py")]


@frozen
class Result:
    """What became of a mutant."""

    by: str = ""
    """The test that failed, or how else the mutant was noticed; empty for a survivor."""
    ran: int = 0
    """How many tests were given the mutant, at most."""
    known: int = 0
    """How many tests run its lines."""
    files: Mapping[str, str] = field(factory=dict, repr=False)
    """The files of the tests that did not notice it, and their digests."""


def try_mutant(tree: Tree, mutant: Mutant, tests: Sequence[Test], budget_s: float) -> tuple[str, int]:
    """Run tests until one notices the mutant, at most `budget_s` seconds of them. Returns how it was noticed; empty if
    it was not; and how many tests it was given.
    """
    totals = list(accumulate(test.seconds for test in tests))
    chosen, first = (max(bisect(totals, seconds), 1) for seconds in (budget_s, FIRST_S))
    with tree.mutated(mutant):
        for part in filter(None, [tests[:first], tests[first:chosen]]):
            if by := _noticed(tree, part):
                return by, chosen
    return "", min(chosen, len(tests))


def _noticed(tree: Tree, tests: Sequence[Test]) -> str:
    names = tree.folder.with_suffix(".json")
    names.write_text(json.dumps([test.name for test in tests]))
    limit = START_S + SLOWER * sum(test.seconds for test in tests)
    code, output = tree.pytest(
        *[f"--tests-from={names}", "-x", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider"],
        *sorted({test.file for test in tests}),
        limit_s=limit,
        PYTHONDONTWRITEBYTECODE="1",  # a mutant may have the size and the second of another
    )
    match code:
        case 0:
            return ""
        case 1 if failed := re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE):
            return failed[1]
        case None:
            return f"no end within {limit:.0f} s"
        case 5:
            raise RuntimeError(f"none of the tests {names} was found:\n{output}")
    return f"pytest ends with {code}"
