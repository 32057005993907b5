"""One run of the test, and what it found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cluster import Cluster, say
from evidence import Phase

SETTLED = 3.0  # seconds of load before and after what is done


@dataclass
class Trial:
    """A namespace, what was done in it, and what of the promises held."""

    cluster: Cluster
    phases: list[Phase] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check(self, held: bool, promise: str) -> None:
        """Note whether it held, and go on."""
        say(("held: " if held else "BROKEN: ") + promise)
        (self.facts if held else self.broken).append(promise)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Something that is done under load."""
        say(name)
        began = time.time()
        time.sleep(SETTLED)
        yield
        time.sleep(SETTLED)
        self.phases.append(Phase(name, began, time.time()))
