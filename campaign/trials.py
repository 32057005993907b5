"""Attacks and their trials: how they are run, resumed and recorded."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import attrs
from attrs import define, field, frozen

from campaign.checker import Violation, check
from campaign.history import Action, History, Stored

SOURCES = ("src", "requirements/service.lock")
"""The files that determine the behavior of the product. Results are valid for one state of them."""


class Unavailable(Exception):
    """This machine lacks something that an attack needs."""


class Broken(AssertionError):
    """A promise was broken."""


@define
class Trial:
    """One trial of an attack: some units of it, on a separate system and with separate random numbers."""

    attack: str
    number: int
    seed: str
    units: int
    folder: Path
    """All files of the trial. It is preserved if the trial fails."""
    counts: Counter[str] = field(factory=Counter, init=False)
    """Number of events by name. The report has the sums over all trials."""
    seconds: dict[str, list[float]] = field(factory=dict, init=False)
    """Durations by name."""
    random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.random = Random(self.seed)

    def part(self, number: int) -> Trial:
        """Create a trial within this one. It has a separate folder and random numbers, and shares counts and times."""
        folder = self.folder / str(number)
        folder.mkdir()
        part = Trial(self.attack, number, f"{self.seed}/{number}", 1, folder)
        part.counts, part.seconds = self.counts, self.seconds
        return part

    def took(self, what: str, seconds: float) -> None:
        self.seconds.setdefault(what, []).append(round(seconds, 4))

    @contextmanager
    def history(self) -> Iterator[History]:
        with History.written(self.folder / "history.jsonl") as history:
            yield history

    def check(
        self,
        history: History,
        stored: Sequence[Stored],
        *,
        steady_clock: bool = True,
        others: Sequence[Violation] = (),
    ) -> None:
        """Count the operations of the history. Raises Broken for violations in it, and for those in `others`."""
        (self.folder / "stored.jsonl").write_text("".join(json.dumps(attrs.asdict(record)) + "\n" for record in stored))
        for operation in history.operations:
            if operation.action is Action.CUT_OFF:
                continue
            self.counts[f"{operation.action}: {'no answer' if operation.status is None else operation.status}"] += 1
        self.counts["stored"] += len(stored)
        if violations := [*others, *check(history.operations, stored, steady_clock=steady_clock)]:
            raise Broken(summary(violations))


@frozen
class Attack:
    """An attack, which is a row of the report."""

    name: str
    title: str
    unit: str
    """The unit of `full`, `quick` and `each`, in the plural."""
    full: int
    quick: int
    each: int
    """Units per trial at full size."""
    must_hold: str
    run: Callable[[Trial], None]
    """Runs a trial. Raises Broken or AssertionError if a promise was broken, Unavailable if it can't run here."""
    p95: float | None = None
    """Limit of the 95th percentile of each duration, in seconds."""

    def sizes(self, *, quick: bool) -> list[int]:
        """Return the number of units of each trial."""
        total, size = (self.quick, self.quick) if quick else (self.full, self.each)
        return [min(size, total - done) for done in range(0, total, size)]


@frozen
class Result:
    """The result of a trial."""

    attack: str
    number: int
    seed: str
    units: int
    took: float
    counts: dict[str, int]
    seconds: dict[str, list[float]]
    failure: str | None = None
    unavailable: str | None = None
    earlier_failures: tuple[str, ...] = ()
    """Failures of earlier runs of the same trial."""


@define
class Results:
    """The results for one state of the code, in a file per attack, so that an interrupted campaign can be resumed."""

    folder: Path

    def of(self, attack: str) -> list[Result]:
        """Return the results of an attack by number of the trial. The last run of a trial counts."""
        path = self._path(attack)
        lines = path.read_text().splitlines() if path.exists() else []
        by_number: dict[int, Result] = {}
        for document in map(json.loads, lines):
            result = Result(**document | {"earlier_failures": tuple(document["earlier_failures"])})
            if (before := by_number.get(result.number)) and before.failure:
                earlier = (*before.earlier_failures, before.failure)
                result = attrs.evolve(result, earlier_failures=earlier)
            by_number[result.number] = result
        return [by_number[number] for number in sorted(by_number)]

    def add(self, result: Result) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._path(result.attack).open("a") as file:
            file.write(json.dumps(attrs.asdict(result)) + "\n")

    def fitting(self, attack: str, sizes: Sequence[int]) -> list[Result]:
        """Return results of trials with these sizes. Others are from before a change of the attack, and are deleted."""
        known = self.of(attack)
        fitting = [result for result in known if result.number < len(sizes) and result.units == sizes[result.number]]
        if len(fitting) < len(known):
            self._path(attack).unlink()
            for result in fitting:
                self.add(result)
        return fitting

    def _path(self, attack: str) -> Path:
        return self.folder / f"{attack}.jsonl"


def run_attack(
    attack: Attack, seed: str, results: Results, failures: Path, say: Callable[[str], None], *, quick: bool
) -> bool:
    """Run the trials that haven't passed yet. Returns whether none failed."""
    sizes = attack.sizes(quick=quick)
    known = results.fitting(attack.name, sizes)
    passed = {result.number for result in known if not result.failure and not result.unavailable}
    has_passed, reasons = True, set[str]()
    for number, units in enumerate(sizes):
        if number in passed:
            continue
        result = _run(attack, number, f"{seed}/{attack.name}/{number}", units, failures)
        results.add(result)
        state = result.failure or result.unavailable or "passed"
        say(f"{attack.name} {number + 1} of {len(sizes)}: {units} {attack.unit}, {result.took:.1f} s, {state}")
        has_passed &= result.failure is None
        if result.unavailable and result.unavailable not in reasons:
            reasons.add(result.unavailable)  # other trials may lack something else
            say(f"!!! {attack.name} CANNOT RUN HERE: {result.unavailable} !!!")
    return has_passed


def _run(attack: Attack, number: int, seed: str, units: int, failures: Path) -> Result:
    began = time.monotonic()
    failure = unavailable = None
    with tempfile.TemporaryDirectory(prefix=f"campaign-{attack.name}-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's folders may be inside, and it runs as another user
        trial = Trial(attack.name, number, seed, units, Path(folder))
        try:
            attack.run(trial)
        except Unavailable as reason:
            unavailable = str(reason)
        except Exception as error:  # noqa: BLE001 (every error is a result of the trial)
            failure = _preserve(trial, failures, error)
    took = round(time.monotonic() - began, 1)
    return Result(attack.name, number, seed, units, took, dict(trial.counts), trial.seconds, failure, unavailable)


def _preserve(trial: Trial, failures: Path, error: Exception) -> str:
    """Copy the folder of a failed trial. Returns a message with the error and the copy."""
    copy = failures / f"{trial.attack}-{trial.number}-{time.strftime('%Y%m%d-%H%M%S')}"
    (trial.folder / "error").write_text("".join(traceback.format_exception(error)))
    shutil.copytree(trial.folder, copy, ignore_dangling_symlinks=True, ignore=_sockets)
    return f"FAILED with seed {trial.seed}: {type(error).__name__}: {error} (kept in {copy})"


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket() or Path(folder, name).is_fifo()]


def code() -> str:
    """Return the commit that last changed the product, marked if there are uncommitted changes."""
    commit = _git("log", "-1", "--format=%h", "--", *SOURCES)
    return f"{commit}-changed" if _git("status", "--porcelain", "--", *SOURCES) else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def summary(violations: Sequence[Violation]) -> str:
    """Describe violations: their number by rule, and the first of each rule."""
    rules = Counter(violation.rule for violation in violations)
    numbers = ", ".join(f"{number} x {rule}" for rule, number in rules.items())
    first: dict[Any, Violation] = {}
    for violation in violations:
        first.setdefault(violation.rule, violation)
    return "\n".join([numbers, *(f"{violation.rule.name}: {violation.by}" for violation in first.values())])
