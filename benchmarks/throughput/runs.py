"""What one run under load came to, and the sums over several: pure, so that they can be tested without any load."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from attrs import asdict, frozen


@frozen
class Run:
    """One target under load for a while. `stored`: rows that were committed meanwhile; None if it stores nothing."""

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
        """Answers that were 2xx."""
        return self.answers - self.not_2xx

    @property
    def rate(self) -> float:
        """2xx answers a second."""
        return self.succeeded / self.seconds

    @property
    def faults(self) -> list[str]:
        """Whatever forbids to claim anything from this run.

        A request that is in flight as the load ends may be committed without being counted: there may be as many rows
        more than answers as there are connections, and never fewer rows than answers.
        """
        found = []
        if self.not_2xx or self.socket_errors:
            found.append(f"{self.not_2xx} answers not 2xx, {self.socket_errors} socket errors")
        if self.stored is not None:
            surplus = self.stored - self.succeeded * self.rows_an_answer
            if not 0 <= surplus <= self.connections * self.rows_an_answer:
                found.append(f"{self.stored} rows stored for {self.succeeded} answers of {self.rows_an_answer}")
        return found

    def as_json(self) -> dict[str, object]:
        """The run with what follows from it."""
        return {**asdict(self), "rate": self.rate, "faults": self.faults}


def read_run(output: str) -> Run:
    """The run that the last line of a load generator's output tells of. Raises ValueError if it tells of none."""
    lines = output.strip().splitlines()
    try:
        return Run(**json.loads(lines[-1]))
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(f"the load generator did not say what came of it: {output!r}") from error


@frozen
class Place:
    """What is loaded, and over how many connections."""

    target: str
    connections: int


Rounds = Mapping[Place, Sequence[Run]]


def middle(runs: Iterable[Run], measure: str) -> float:
    """The median of `rate`, `p50_ms` or `p99_ms`."""
    value: float = median(getattr(run, measure) for run in runs)
    return value


@frozen
class Outcome:
    """A figure beside what it should be. `low` and `high`: the least and the greatest of the single rounds."""

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
        enough = self.at_least is None or self.value >= self.at_least
        little = self.at_most is None or self.value <= self.at_most
        return "met" if enough and little and not self.faulty else "not met"


@frozen
class Comparison:
    """A claim of the form: the better of some targets is so many times what another is, in the same run.

    `measure` is `rate`, or `p99_ms`, of which less is better and the ratio is turned round.
    """

    claim: str
    better_of: Sequence[str]
    than: str
    connections: int
    at_least: float
    measure: str = "rate"

    def outcome(self, rounds: Rounds) -> Outcome:
        """The ratio of the medians; its spread over the rounds; the faults of the runs that it rests on."""
        than = rounds.get(Place(self.than, self.connections), ())
        candidates = {name: rounds.get(Place(name, self.connections), ()) for name in self.better_of}
        missing = [f"{name} was not measured" for name in self.better_of if not candidates[name]]
        candidates = {name: runs for name, runs in candidates.items() if runs}
        if not candidates or not than:
            return Outcome(self.claim, None, at_least=self.at_least, notes=tuple(missing))
        name = max(candidates, key=lambda each: self._ratio(candidates[each], than))
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
