"""What pytest does for the mutants: it records which lines each test runs, and runs chosen tests in a given order."""

from __future__ import annotations

import json
import resource
from collections import defaultdict
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from coverage import Coverage, CoverageData
from hypothesis import Phase, settings

_MEMORY = 8 << 30
"""Bytes of address space that a mutant may take: one that allocates in an endless loop must not take the machine's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lines-to", type=Path, help="the folder for what each test file runs")
    parser.addoption("--tests-from", type=Path, help="the tests to run, as a list in JSON")


def pytest_configure(config: pytest.Config) -> None:
    if folder := config.getoption("lines_to"):
        config.pluginmanager.register(_Recorder(folder, config.rootpath))
    if config.getoption("tests_from"):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        # the same examples each time, and no search for smaller ones
        settings.register_profile(
            "mutants", settings(), phases=(Phase.explicit, Phase.generate), database=None, derandomize=True
        )
        settings.load_profile("mutants")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if names := config.getoption("tests_from"):
        order = {name: place for place, name in enumerate(json.loads(names.read_text()))}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


@define
class _Recorder:
    """Writes a file for each test file: how long each test that passed took, and which lines ran in which tests."""

    _folder: Path
    _root: Path
    _coverage: Coverage | None = field(default=None, init=False)
    _seconds: dict[str, float] = field(factory=lambda: defaultdict(float), init=False)
    _failed: set[str] = field(factory=set, init=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        if self._coverage is None:
            source = [str(self._root / "src/housepredict")]
            self._coverage = Coverage(data_file=None, config_file=False, source=source, messages=False)
            self._coverage.set_option("run:disable_warnings", ["no-data-collected"])
            self._coverage.start()
        self._coverage.switch_context(item.nodeid)
        outcome = yield
        if nextitem is None or nextitem.path != item.path:
            self._coverage.stop()
            self._write(item.path, self._coverage.get_data())
            self._coverage = None
        return outcome

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if not report.passed:
            self._failed.add(report.nodeid)

    def _write(self, file: Path, data: CoverageData) -> None:
        name = str(file.relative_to(self._root)).replace("/", ".")
        tests = [each for each in self._seconds if each not in self._failed]
        numbers = {test: number for number, test in enumerate(tests)}
        lines = {
            str(Path(path).relative_to(self._root)): _numbered(data.contexts_by_lineno(path), numbers)
            for path in sorted(data.measured_files())
        }
        found = {
            "tests": [[test, round(self._seconds[test], 3)] for test in tests],
            "not passed": sorted(self._failed),
            "lines": lines,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.{digest(file.read_text())}.json").write_text(json.dumps(found))
        self._seconds.clear()
        self._failed.clear()


def digest(*texts: str) -> str:
    """What tells texts from others."""
    return sha256("\0".join(texts).encode()).hexdigest()[:16]


def _numbered(contexts: dict[int, list[str]], numbers: dict[str, int]) -> dict[int, list[int]]:
    return {line: sorted(numbers[each] for each in tests if each in numbers) for line, tests in contexts.items()}
