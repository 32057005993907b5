"""Checks of readiness: polls of `/health/ready` during an attack are compared with the expected answers."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, TextIO

import attrs
from attrs import define, field, frozen

from campaign.services import Service, pause, spool_of
from campaign.trials import Broken

NOTICED_S = 3.0
"""Time within which readiness must report a fault: two timeouts of PostgreSQL of a second each, and a poll."""
RECOVERED_S = 15.0
"""Time after the end of a fault within which readiness must report that the spool is drained."""
MANY = 8
"""Number of answers that almost certainly include both of two workers."""
_PAUSE_S = 0.1


@frozen
class Answer:
    """An answer of `/health/ready`, with the times of the request in seconds on the monotonic clock."""

    service: str
    began: float
    ended: float
    status: int | None
    """None if there was no answer."""
    document: Any

    @property
    def is_caught_up(self) -> bool:
        """Whether it reports that nothing is pending and the database is available."""
        return self.status == 200 and spool_of(self.document["checks"]["predictions"]) is None


@frozen
class Says:
    """The expected answer of `/health/ready`."""

    status: int = 200
    behind: str | None = None
    """Pattern for the reason why predictions are pending; None accepts any state of the spool."""
    model: str | None = None
    """Pattern for the reason of the failed check of the model; None requires that the check passes."""
    workers: int = 1
    """Number of worker processes. One of them drains the spool, so the others may not know the reason."""

    def is_known_to(self, answer: Answer) -> bool:
        """Return whether an answer has the reason, if one is required."""
        return self.behind is None or bool((spool_of(answer.document["checks"]["predictions"]) or {})["reason"])

    def complaint(self, answer: Answer) -> str | None:
        """Describe the error of an answer; None if it is as expected."""
        if answer.status != self.status:
            return f"status {answer.status} instead of {self.status}"
        checks = answer.document["checks"]
        if self.behind is not None:
            behind = spool_of(checks["predictions"])
            if behind is None:
                return "`spool` is missing"
            unknown = behind["reason"] is None and self.workers > 1
            if not unknown and not re.search(self.behind, behind["reason"] or ""):
                return f"the reason of `spool` doesn't match {self.behind!r}"
        if self.model is None:
            return None if checks["model"]["ok"] else "the check of the model failed"
        return (
            None
            if re.search(self.model, checks["model"].get("reason", ""))
            else f"the reason of `model` doesn't match {self.model!r}"
        )


AVAILABLE = Says()
"""Estimates are stored, in the database or in the spool."""


@define
class Watch:
    """Polls the readiness of services, and writes the answers to a file, one per line."""

    _file: TextIO
    _answers: list[Answer] = field(factory=list, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    _over: Event = field(factory=Event, init=False)
    _threads: list[Thread] = field(factory=list, init=False)

    @classmethod
    @contextmanager
    def written(cls, path: Path) -> Iterator[Watch]:
        """Open a watch that ends with the block."""
        with path.open("w", buffering=1) as file:
            watch = cls(file)
            try:
                yield watch
            finally:
                watch._over.set()
                for thread in watch._threads:
                    thread.join()

    def follow(self, service: Service) -> None:
        thread = Thread(target=self._ask, args=(service,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def answers(self, service: Service, since: float, until: float) -> list[Answer]:
        """Return the answers to requests that began and ended between two times."""
        with self._lock:
            answers = [answer for answer in self._answers if answer.service == service.name]
        return [answer for answer in answers if answer.began >= since and answer.ended <= until]

    def wait_until_caught_up(self, service: Service, since: float, in_a_row: int = 1) -> Answer:
        """Wait for `in_a_row` answers that report a drained spool, and return the first. Requests begin after `since`.

        Raises:
            Broken: if that takes longer than RECOVERED_S.
        """
        while True:
            now = time.monotonic()
            answers = self.answers(service, since, now)
            for first in range(len(answers) - in_a_row + 1):
                if all(answer.is_caught_up for answer in answers[first : first + in_a_row]):
                    return answers[first]
            if now > since + RECOVERED_S:
                raise Broken(f"{service.name} is behind {RECOVERED_S} s after the fault: {answers[-1:]}")
            pause(_PAUSE_S)

    def check(self, service: Service, says: Says, since: float, until: float) -> int:
        """Check the answers between two times. Returns their number. Raises Broken for an unexpected one."""
        answers = self.answers(service, since, until)
        wrong = [(complaint, answer) for answer in answers if (complaint := says.complaint(answer))]
        if wrong:
            kinds = dict(Counter(complaint for complaint, _ in wrong))
            raise Broken(
                f"readiness is wrong in {len(wrong)} of {len(answers)} answers: {kinds}, such as {wrong[0][1]}"
            )
        if len(answers) >= MANY and not any(map(says.is_known_to, answers)):
            raise Broken(f"readiness of {service.name} never gives the reason: {answers[0]}")
        return len(answers)

    def _ask(self, service: Service) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            status, document = service.readiness()
            answer = Answer(service.name, began, time.monotonic(), status, document)
            with self._lock:
                self._answers.append(answer)
                self._file.write(json.dumps(attrs.asdict(answer)) + "\n")
            pause(_PAUSE_S)
