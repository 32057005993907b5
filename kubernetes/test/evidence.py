"""The records of the clients, and statistics over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """The outcome of a request: the time of its response (s), its latency (ms), and the prediction or the failure."""

    at: float
    took: float
    id: str | None
    generation: int
    price: float
    failure: str


@dataclass(frozen=True)
class Observation:
    """An observation of the models, from its start to its end (s).

    `generation` is the promoted one, and `lowest` the lowest that any worker serves.
    """

    began: float
    ended: float
    generation: int
    lowest: int


@dataclass(frozen=True)
class Phase:
    """A phase of the test, from its start to its end (s)."""

    name: str
    began: float
    ended: float

    def of(self, answers: Sequence[Answer]) -> list[Answer]:
        """Select the answers during this phase."""
        return [answer for answer in answers if self.began <= answer.at < self.ended]


def answers(text: str) -> list[Answer]:
    """Parse the records of the clients, ordered by time."""
    return sorted(_answers(text), key=lambda answer: answer.at)


def _answers(text: str) -> Iterator[Answer]:
    for line in text.splitlines():
        at, took, rest = line.split(" ", 2)
        if rest.startswith("failed"):
            yield Answer(float(at), float(took), None, 0, 0.0, rest)
        else:
            name, generation, price = rest.split()
            # The demo model has no generation.
            number = 0 if generation == "None" else int(generation)
            yield Answer(float(at), float(took), name, number, float(price), "")


def observations(text: str) -> list[Observation]:
    """Parse the observations of the models."""
    rows = [line.split() for line in text.splitlines()]
    return [Observation(float(row[0]), float(row[1]), int(row[2]), int(row[3])) for row in rows]


def convergence(seen: Sequence[Observation], generation: int) -> float | None:
    """Return an upper bound of the seconds from a promotion's commit until every worker served it; None if unknown.

    It is the time from the start of the last observation before the commit to the end of the first that found the
    generation in every worker.
    """
    before = [observation.began for observation in seen if observation.generation < generation]
    after = [observation.ended for observation in seen if observation.lowest >= generation]
    return min(after) - max(before) if before and after else None


def quantile(answered: Sequence[Answer], share: float) -> float:
    """Return a quantile of the latencies (ms), such as 0.99; 0 without any answers."""
    times = sorted(answer.took for answer in answered)
    return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0


def table(phases: Sequence[Phase], all_answers: Sequence[Answer]) -> str:
    """Return a Markdown table with a row for each phase."""
    rows = ["| Phase | Seconds | Requests | Failed | p50 ms | p99 ms | Longest ms |", "|---|---|---|---|---|---|---|"]
    for phase in phases:
        of_phase = phase.of(all_answers)
        failed = sum(1 for answer in of_phase if answer.failure)
        latencies = " | ".join(f"{quantile(of_phase, share):.0f}" for share in (0.5, 0.99, 1.0))
        rows.append(f"| {phase.name} | {phase.ended - phase.began:.0f} | {len(of_phase)} | {failed} | {latencies} |")
    return "\n".join(rows)
