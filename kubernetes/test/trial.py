"""A run of the test, with its phases and results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cluster import Cluster, report_progress
from evidence import Phase

SETTLE_S = 3.0  # load before and after the action of each phase


@dataclass
class Trial:
    """A run in a cluster's namespace: its phases, and the checks that passed (`facts`) or failed (`broken`)."""

    cluster: Cluster
    phases: list[Phase] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check(self, held: bool, promise: str) -> None:
        """Report and record the result of a check; a failed one doesn't end the run."""
        report_progress(("passed: " if held else "FAILED: ") + promise)
        (self.facts if held else self.broken).append(promise)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record the body of the context as a phase, with load before and after it."""
        report_progress(name)
        began = time.time()
        time.sleep(SETTLE_S)
        yield
        time.sleep(SETTLE_S)
        self.phases.append(Phase(name, began, time.time()))
