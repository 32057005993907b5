"""The results of runs under load, and the outcomes of comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from attrs import asdict, frozen


@frozen
class Run:
    """The result of a target under load. `stored` is the number of rows in its database, None if it has none."""

    answers: int
    seconds: float
    not_2xx: int
    socket_errors: int
    p50_ms: float
    p99_ms: float
    connections: int = 0
    rows_an_answer: int = 1
    stored: int | None = None

    @property
    def succeeded(self) -> int:
        """The number of 2xx responses."""
        return self.answers - self.not_2xx

    @property
    def rate(self) -> float:
        """The number of 2xx responses per second."""
        return self.succeeded / self.seconds

    @property
    def faults(self) -> list[str]:
        """Reasons why nothing can be claimed from this run.

        Requests in flight at the end may be committed without being counted: up to one per connection.
        """
        faults = []
        if self.not_2xx or self.socket_errors:
            faults.append(f"{self.not_2xx} responses not 2xx, {self.socket_errors} socket errors")
        if self.stored is not None:
            surplus = self.stored - self.succeeded * self.rows_an_answer
            if not 0 <= surplus <= self.connections * self.rows_an_answer:
                faults.append(f"{self.stored} rows stored for {self.succeeded} responses of {self.rows_an_answer}")
        return faults

    def as_json(self) -> dict[str, object]:
        """Return the run with its rate and faults."""
        return {**asdict(self), "rate": self.rate, "faults": self.faults}


def read_run(output: str) -> Run:
    """Read a run from the last line of a load generator's output. Raises ValueError if there is none."""
    lines = output.strip().splitlines()
    try:
        return Run(**json.loads(lines[-1]))
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(f"the load generator reported no result: {output!r}") from error


@frozen
class Place:
    """A target, and the number of connections to it."""

    target: str
    connections: int


Rounds = Mapping[Place, Sequence[Run]]


def middle(runs: Iterable[Run], measure: str) -> float:
    """Return the median of `rate`, `p50_ms` or `p99_ms`."""
    value: float = median(getattr(run, measure) for run in runs)
    return value


@frozen
class Outcome:
    """A measured value and its target. `low` and `high` are the minimum and maximum of the rounds."""

    claim: str
    value: float | None
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "times"
    notes: tuple[str, ...] = ()
    faulty: bool = False

    @property
    def verdict(self) -> str:
        """met, not met, or skipped."""
        if self.value is None:
            return "skipped"
        is_enough = self.at_least is None or self.value >= self.at_least
        is_little = self.at_most is None or self.value <= self.at_most
        return "met" if is_enough and is_little and not self.faulty else "not met"


@frozen
class Comparison:
    """A claim that the better of some targets is at least so many times as good as another target.

    `measure` is `rate` or `p99_ms`. Since a lower `p99_ms` is better, its ratio is inverted.
    """

    claim: str
    better_of: Sequence[str]
    than: str
    connections: int
    at_least: float
    measure: str = "rate"

    def outcome(self, rounds: Rounds) -> Outcome:
        """Return the ratio of the medians, its minimum and maximum over the rounds, and the faults of the runs."""
        than = rounds.get(Place(self.than, self.connections), ())
        candidates = {name: rounds.get(Place(name, self.connections), ()) for name in self.better_of}
        missing = [f"{name} was not measured" for name in self.better_of if not candidates[name]]
        candidates = {name: runs for name, runs in candidates.items() if runs}
        if not candidates or not than:
            return Outcome(self.claim, None, at_least=self.at_least, notes=tuple(missing))
        name = max(candidates, key=lambda candidate: self._ratio(candidates[candidate], than))
        best = candidates[name]
        singles = [self._ratio([ours], [theirs]) for ours, theirs in zip(best, than, strict=True)]
        faults = sorted({fault for run in (*best, *than) for fault in run.faults})
        notes = (*([name] if len(self.better_of) > 1 else []), *missing, *faults)
        return Outcome(
            self.claim, self._ratio(best, than), min(singles), max(singles), self.at_least, notes=notes,
            faulty=bool(faults),
        )  # fmt: skip

    def _ratio(self, ours: Iterable[Run], theirs: Iterable[Run]) -> float:
        ratio = middle(ours, self.measure) / middle(theirs, self.measure)
        return ratio if self.measure == "rate" else 1 / ratio
