"""The thread of a serving process that takes up what is promoted, and tells others what serves here."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol
from uuid import UUID, uuid4

from attrs import define, evolve, field

from housepredict.domain.errors import HousepredictError
from housepredict.domain.ports import InService, LiveProcesses
from housepredict.domain.processes import LiveProcess

_log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks at the pointer."""
TELL_EVERY = 5.0
"""Seconds between signs of life, if nothing changes."""


class Followed(Protocol):
    """What takes up what is promoted."""

    @property
    def serving(self) -> InService | None:
        """What is in service as of the last look."""

    @property
    def refusal(self) -> HousepredictError | None:
        """Why that is not what is promoted, if so."""

    def look(self) -> None:
        """Take up what is promoted."""


class Announcements(Protocol):
    """Tells when the pointer may have moved."""

    def wait(self, seconds: float) -> None:
        """Return once it may have, after `seconds` at the latest, or when `end` is called."""

    def end(self) -> None:
        """End a wait that another thread is in, and all that come."""

    def close(self) -> None:
        """Let go of whatever it took to wait."""


@define
class Follower:
    """Looks at the pointer once a second, and at once if there are `announcements`, until it is closed."""

    _live: Followed
    _processes: LiveProcesses
    _announcements: Announcements | None = None
    _monotonic: Callable[[], float] = time.monotonic
    _self: LiveProcess = field(factory=lambda: LiveProcess(uuid4(), socket.gethostname(), os.getpid()), init=False)
    _told: LiveProcess | None = field(default=None, init=False)
    _told_at: float = field(default=0.0, init=False)
    _silent: bool = field(default=False, init=False)
    _stopping: Event = field(factory=Event, init=False, repr=False)
    _thread: Thread | None = field(default=None, init=False, repr=False)

    @property
    def id(self) -> UUID:
        """What this process is called among those that serve."""
        return self._self.id

    def start(self) -> None:
        """Follow, in a thread."""
        self._thread = Thread(target=self._run, name="housepredict-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following, and take leave of the others."""
        self._stopping.set()
        if self._announcements:
            self._announcements.end()
        if self._thread:
            self._thread.join()
        try:
            self._processes.leave(self.id)
        except HousepredictError as error:
            _log.debug("no leave was taken: %s", error)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._live.look()
                self._tell()
            except Exception:  # noqa: BLE001  # the thread must outlive whatever a store comes up with
                _log.exception("following the promoted version failed unexpectedly")
            if self._announcements:
                self._announcements.wait(LOOK_EVERY)
            else:
                self._stopping.wait(LOOK_EVERY)
        if self._announcements:
            self._announcements.close()

    def _tell(self) -> None:
        now, serving, refusal = self._monotonic(), self._live.serving, self._live.refusal
        said = evolve(
            self._self,
            version=serving.version.name if serving else None,
            generation=serving.generation if serving else None,
            refused=str(refusal) if refusal else None,
        )
        if said == self._told and now - self._told_at < TELL_EVERY:
            return
        try:
            self._processes.tell(said)
        except HousepredictError as error:
            if not self._silent:
                _log.warning("nobody is told what serves here: %s", error)
            self._silent = True
        else:
            self._told, self._told_at, self._silent = said, now, False
