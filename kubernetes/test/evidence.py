"""What the clients noted, phase by phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One request: when it was answered (seconds), how long it took (ms), and what came of it."""

    at: float
    took: float
    id: str | None
    generation: int
    price: float
    failure: str


@dataclass(frozen=True)
class Look:
    """One look at the models, from its begin to its end (seconds).

    `generation` is that of the promotion, and `lowest` the lowest that a worker serves.
    """

    began: float
    ended: float
    generation: int
    lowest: int


@dataclass(frozen=True)
class Phase:
    """What was done, and when (seconds)."""

    name: str
    began: float
    ended: float

    def of(self, answers: Sequence[Answer]) -> list[Answer]:
        """Those of its time."""
        return [each for each in answers if self.began <= each.at < self.ended]


def answers(text: str) -> list[Answer]:
    """The notes of the clients, in order."""
    return sorted(_answers(text), key=lambda answer: answer.at)


def _answers(text: str) -> Iterator[Answer]:
    for line in text.splitlines():
        at, took, rest = line.split(" ", 2)
        if rest.startswith("failed"):
            yield Answer(float(at), float(took), None, 0, 0.0, rest)
        else:
            name, generation, price = rest.split()
            # the demonstration was never promoted
            number = 0 if generation == "None" else int(generation)
            yield Answer(float(at), float(took), name, number, float(price), "")


def looks(text: str) -> list[Look]:
    """The notes of who looked at the models."""
    rows = [line.split() for line in text.splitlines()]
    return [Look(float(row[0]), float(row[1]), int(row[2]), int(row[3])) for row in rows]


def convergence(seen: Sequence[Look], generation: int) -> float | None:
    """At most how many seconds passed from a commit until all served it.

    From the last look before it was there to the end of the first that found it in every worker.
    """
    before = [look.began for look in seen if look.generation < generation]
    after = [look.ended for look in seen if look.lowest >= generation]
    return min(after) - max(before) if before and after else None


def quantile(answered: Sequence[Answer], share: float) -> float:
    """Milliseconds that so many of the answers took at most; 0 without any."""
    times = sorted(each.took for each in answered)
    return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0


def table(phases: Sequence[Phase], all_answers: Sequence[Answer]) -> str:
    """A row for each phase, in Markdown."""
    rows = ["| Phase | Seconds | Requests | Failed | p50 ms | p99 ms | Longest ms |", "|---|---|---|---|---|---|---|"]
    for phase in phases:
        those = phase.of(all_answers)
        failed = sum(1 for each in those if each.failure)
        figures = " | ".join(f"{quantile(those, share):.0f}" for share in (0.5, 0.99, 1.0))
        rows.append(f"| {phase.name} | {phase.ended - phase.began:.0f} | {len(those)} | {failed} | {figures} |")
    return "\n".join(rows)
