"""What an attack is, one trial of it, and how trials are run, resumed and recorded."""

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
"""What decides how the product behaves: results count for one state of these."""


class Unavailable(Exception):
    """This machine lacks what an attack needs."""


class Broken(AssertionError):
    """A promise was broken."""


@define
class Trial:
    """One trial of an attack: so many units of it, on a system of its own, with random numbers of its own."""

    attack: str
    number: int
    seed: str
    units: int
    folder: Path
    """Where everything of the trial is. It is kept if the trial fails."""
    counts: Counter[str] = field(factory=Counter, init=False)
    """What happened how often; counts of all trials are added up."""
    seconds: dict[str, list[float]] = field(factory=dict, init=False)
    """How long things took, each time."""
    random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.random = Random(self.seed)

    def part(self, number: int) -> Trial:
        """A trial within this one, with a folder and random numbers of its own; counts and times are this one's."""
        folder = self.folder / str(number)
        folder.mkdir()
        made = Trial(self.attack, number, f"{self.seed}/{number}", 1, folder)
        made.counts, made.seconds = self.counts, self.seconds
        return made

    def took(self, what: str, seconds: float) -> None:
        self.seconds.setdefault(what, []).append(round(seconds, 4))

    @contextmanager
    def history(self) -> Iterator[History]:
        """The trial's history."""
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
        """Count what the history holds. Raises Broken with the first violations, and with those that others found."""
        (self.folder / "stored.jsonl").write_text("".join(json.dumps(attrs.asdict(each)) + "\n" for each in stored))
        for each in history.operations:
            if each.action is Action.CUT_OFF:
                continue
            self.counts[f"{each.action}: {'no answer' if each.status is None else each.status}"] += 1
        self.counts["stored"] += len(stored)
        if violations := [*others, *check(history.operations, stored, steady_clock=steady_clock)]:
            raise Broken(summary(violations))


@frozen
class Attack:
    """A row of the campaign."""

    name: str
    title: str
    unit: str
    """What `full` counts, in the plural."""
    full: int
    quick: int
    each: int
    """Units in a trial at full size."""
    must_hold: str
    run: Callable[[Trial], None]
    """Raises Broken, or another AssertionError, if a promise was broken, Unavailable if nothing can be said."""
    p95: float | None = None
    """The most that the 95th percentile of each of the trials' times may be, in seconds."""

    def sizes(self, *, quick: bool) -> list[int]:
        """The units of each trial."""
        wanted, each = (self.quick, self.quick) if quick else (self.full, self.each)
        return [min(each, wanted - done) for done in range(0, wanted, each)]


@frozen
class Result:
    """What came of a trial."""

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
    """Of the same trial, before it was run again."""


@define
class Results:
    """The results of one state of the code, a file for each attack, so that an interrupted campaign goes on."""

    folder: Path

    def of(self, attack: str) -> list[Result]:
        """The trials that ended, in their order; of one that was run again, the last."""
        path = self._path(attack)
        lines = path.read_text().splitlines() if path.exists() else []
        by_number: dict[int, Result] = {}
        for each in map(json.loads, lines):
            result = Result(**each | {"earlier_failures": tuple(each["earlier_failures"])})
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
        """The trials that ended and have these sizes. Others are of an attack that was changed, and are dropped."""
        known = self.of(attack)
        fitting = [each for each in known if each.number < len(sizes) and each.units == sizes[each.number]]
        if len(fitting) < len(known):
            self._path(attack).unlink()
            for each in fitting:
                self.add(each)
        return fitting

    def _path(self, attack: str) -> Path:
        return self.folder / f"{attack}.jsonl"


def run_attack(
    attack: Attack, seed: str, results: Results, failures: Path, say: Callable[[str], None], *, quick: bool
) -> bool:
    """Run the trials that have not passed yet. Returns whether no trial failed."""
    sizes = attack.sizes(quick=quick)
    known = results.fitting(attack.name, sizes)
    passed = {each.number for each in known if not each.failure and not each.unavailable}
    good, lacking = True, set[str]()
    for number, units in enumerate(sizes):
        if number in passed:
            continue
        result = _run(attack, number, f"{seed}/{attack.name}/{number}", units, failures)
        results.add(result)
        state = result.failure or result.unavailable or "passed"
        say(f"{attack.name} {number + 1} of {len(sizes)}: {units} {attack.unit}, {result.took:.1f} s, {state}")
        good &= result.failure is None
        if result.unavailable and result.unavailable not in lacking:
            lacking.add(result.unavailable)  # other trials may need something else
            say(f"!!! {attack.name} CANNOT RUN HERE: {result.unavailable} !!!")
    return good


def _run(attack: Attack, number: int, seed: str, units: int, failures: Path) -> Result:
    began = time.monotonic()
    failure = unavailable = None
    with tempfile.TemporaryDirectory(prefix=f"campaign-{attack.name}-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's folders may be inside, and it is another user
        trial = Trial(attack.name, number, seed, units, Path(folder))
        try:
            attack.run(trial)
        except Unavailable as reason:
            unavailable = str(reason)
        except Exception as error:  # noqa: BLE001 (whatever went wrong is a result of the trial)
            failure = _kept(trial, failures, error)
    took = round(time.monotonic() - began, 1)
    return Result(attack.name, number, seed, units, took, dict(trial.counts), trial.seconds, failure, unavailable)


def _kept(trial: Trial, failures: Path, error: Exception) -> str:
    """Keep a failed trial's folder. Returns what failed, and where that is."""
    kept = failures / f"{trial.attack}-{trial.number}-{time.strftime('%Y%m%d-%H%M%S')}"
    (trial.folder / "error").write_text("".join(traceback.format_exception(error)))
    shutil.copytree(trial.folder, kept, ignore_dangling_symlinks=True, ignore=_sockets)
    return f"FAILED with seed {trial.seed}: {type(error).__name__}: {error} (kept in {kept})"


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket() or Path(folder, name).is_fifo()]


def code() -> str:
    """The commit that last changed the product, with a mark if it was changed since."""
    commit = _git("log", "-1", "--format=%h", "--", *SOURCES)
    return f"{commit}-changed" if _git("status", "--porcelain", "--", *SOURCES) else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def summary(violations: Sequence[Violation]) -> str:
    """The number of violations of each rule, and the first of each."""
    rules = Counter(each.rule for each in violations)
    numbers = ", ".join(f"{number} x {rule}" for rule, number in rules.items())
    first: dict[Any, Violation] = {}
    for each in violations:
        first.setdefault(each.rule, each)
    return "\n".join([numbers, *(f"{each.rule.name}: {each.by}" for each in first.values())])
