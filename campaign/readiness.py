"""Whether readiness tells the truth: what services say at `/health/ready` all the while, and what they must say."""

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
"""Seconds within which readiness has to tell of a fault: twice PostgreSQL's second for an answer, and a look."""
RECOVERED_S = 15.0
"""Seconds after the end of a fault within which readiness has to say that nothing is behind."""
MANY = 8
"""Answers among which, nearly for certain, each of two workers has given one."""
_PAUSE_S = 0.1


@frozen
class Answer:
    """What a service said of its readiness, and when it was asked, in seconds on this machine's monotonic clock."""

    service: str
    began: float
    ended: float
    status: int | None
    """None where nobody answered."""
    document: Any

    @property
    def is_caught_up(self) -> bool:
        """Whether it says that nothing waits, and that its database takes what it is given."""
        return self.status == 200 and spool_of(self.document["checks"]["predictions"]) is None


@frozen
class Says:
    """What `/health/ready` must say."""

    status: int = 200
    behind: str | None = None
    """A pattern that the reason why the database takes nothing matches; None: it may be behind or not."""
    model: str | None = None
    """A pattern that the reason of the failed check of the model matches; None: that check must pass."""
    workers: int = 1
    """How many processes answer. One hands over what waits for all, so that the others may not know the reason."""

    def is_known_to(self, answer: Answer) -> bool:
        """Whether an answer gives the reason, if there has to be one."""
        return self.behind is None or bool((spool_of(answer.document["checks"]["predictions"]) or {})["reason"])

    def complaint(self, answer: Answer) -> str | None:
        """What is wrong with an answer; None if nothing is."""
        if answer.status != self.status:
            return f"status {answer.status} instead of {self.status}"
        checks = answer.document["checks"]
        if self.behind is not None:
            behind = spool_of(checks["predictions"])
            if behind is None:
                return "`spool` is missing"
            unknown = behind["reason"] is None and self.workers > 1
            if not unknown and not re.search(self.behind, behind["reason"] or ""):
                return f"the reason of `spool` is not {self.behind!r}"
        if self.model is None:
            return None if checks["model"]["ok"] else "the check of the model failed"
        return None if re.search(self.model, checks["model"].get("reason", "")) else f"no {self.model!r} of the model"


AVAILABLE = Says()
"""Estimates are recorded, wherever."""


@define
class Watch:
    """Asks services for their readiness, and keeps what they say in a file, an answer a line."""

    _file: TextIO
    _answers: list[Answer] = field(factory=list, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    _over: Event = field(factory=Event, init=False)
    _threads: list[Thread] = field(factory=list, init=False)

    @classmethod
    @contextmanager
    def written(cls, path: Path) -> Iterator[Watch]:
        """A watch that ends with the block."""
        with path.open("w", buffering=1) as file:
            watch = cls(file)
            try:
                yield watch
            finally:
                watch._over.set()
                for each in watch._threads:
                    each.join()

    def follow(self, service: Service) -> None:
        """Ask a service from now on."""
        thread = Thread(target=self._ask, args=(service,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def answers(self, service: Service, since: float, until: float) -> list[Answer]:
        """The answers to questions that were asked and answered between two times."""
        with self._lock:
            answers = [each for each in self._answers if each.service == service.name]
        return [each for each in answers if each.began >= since and each.ended <= until]

    def wait_until_caught_up(self, service: Service, since: float, in_a_row: int = 1) -> Answer:
        """The first of so many answers in a row that say so, to questions asked after `since`.

        Raises Broken where that takes more than RECOVERED_S.
        """
        while True:
            now = time.monotonic()
            answers = self.answers(service, since, now)
            for first in range(len(answers) - in_a_row + 1):
                if all(each.is_caught_up for each in answers[first : first + in_a_row]):
                    return answers[first]
            if now > since + RECOVERED_S:
                raise Broken(f"{service.name} is behind {RECOVERED_S} s after the fault: {answers[-1:]}")
            pause(_PAUSE_S)

    def check(self, service: Service, says: Says, since: float, until: float) -> int:
        """The number of answers between two times. Raises Broken if one of them says something else than it must."""
        answers = self.answers(service, since, until)
        wrong = [(complaint, each) for each in answers if (complaint := says.complaint(each))]
        if wrong:
            kinds = dict(Counter(complaint for complaint, _ in wrong))
            raise Broken(f"readiness is not the truth, {len(wrong)} of {len(answers)}: {kinds}, such as {wrong[0][1]}")
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
