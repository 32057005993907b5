"""The thread that takes up what is promoted, told by announcements or not, and what it tells of itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Event
from typing import Any
from uuid import UUID

import pytest
from attrs import define, field, frozen

from housepredict.adapters.follower import TELL_EVERY, Follower
from housepredict.adapters.memory_processes import InMemoryProcesses
from housepredict.domain.errors import HousepredictError, ModelStoreUnavailable, RefusedModel
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import InService
from housepredict.domain.processes import LiveProcess
from housepredict.testing.versions import a_version


@frozen
class Named:
    version: ModelVersion

    predict: Any = None


def serving(name: str, generation: int) -> InService:
    return InService(Named(a_version(name)[0]), generation)


@define
class Followed:
    """Takes up whatever a test promotes, or fails."""

    promoted: InService | None = None
    serving: InService | None = None
    refusal: HousepredictError | None = None
    fault: Exception | None = None

    def look(self) -> None:
        if self.fault:
            fault, self.fault = self.fault, None
            raise fault
        self.serving = self.promoted


@define
class Told(InMemoryProcesses):
    """What is told can be waited for, and fail."""

    cut: bool = False
    words: list[LiveProcess] = field(factory=list)
    _spoken: Condition = field(factory=Condition)

    def tell(self, process: LiveProcess) -> None:
        if self.cut:
            raise ModelStoreUnavailable("the cable was pulled")
        super().tell(process)
        with self._spoken:
            self.words.append(process)
            self._spoken.notify_all()

    def leave(self, process: UUID) -> None:
        if self.cut:
            raise ModelStoreUnavailable("the cable was pulled")
        super().leave(process)

    def said(self, version: str | None, generation: int | None) -> LiveProcess:
        """The word that says so, once it is spoken."""

        def found() -> list[LiveProcess]:
            return [each for each in self.words if (each.version, each.generation) == (version, generation)]

        with self._spoken:
            assert self._spoken.wait_for(found, 30)
            return found()[-1]


@define
class Steps:
    """Announcements that come when a test wants a step, which has been made when `step` returns."""

    closed: bool = False
    _ended: bool = False
    _due: Event = field(factory=Event)
    _waiting: Event = field(factory=Event)

    def wait(self, seconds: float) -> None:
        self._waiting.set()
        if not self._ended:
            assert self._due.wait(30)
            self._due.clear()

    def step(self) -> None:
        self.begun()
        self._waiting.clear()
        self._due.set()
        self.begun()

    def begun(self) -> None:
        assert self._waiting.wait(30)

    def end(self) -> None:
        self._ended = True
        self._due.set()

    def close(self) -> None:
        self.closed = True


@define
class Scene:
    live: Followed = field(factory=Followed)
    processes: Told = field(factory=Told)
    steps: Steps = field(factory=Steps)
    seconds: float = 100.0

    @contextmanager
    def following(self) -> Iterator[Follower]:
        follower = Follower(self.live, self.processes, self.steps, monotonic=lambda: self.seconds)
        follower.start()
        self.steps.begun()
        yield follower
        follower.close()


def test_what_is_announced_is_taken_up_and_told() -> None:
    scene = Scene()
    with scene.following() as follower:
        assert scene.processes.said(None, None).id == follower.id
        scene.live.promoted = serving("one", 1)
        scene.steps.step()
        assert scene.processes.said("one", 1).refused is None
        scene.live.promoted, scene.live.refusal = serving("one", 3), RefusedModel("its digest is wrong")
        scene.steps.step()
        assert scene.processes.said("one", 3).refused == "its digest is wrong"
    assert list(scene.processes.alive()) == []
    assert scene.steps.closed


def test_what_stays_the_same_is_told_again_after_a_while() -> None:
    scene = Scene()
    with scene.following():
        scene.steps.step()
        assert len(scene.processes.words) == 1
        scene.seconds += TELL_EVERY
        scene.steps.step()
        assert len(scene.processes.words) == 2


def test_without_announcements_it_looks_by_itself() -> None:
    live, processes = Followed(serving("one", 1)), Told()
    follower = Follower(live, processes)
    follower.start()
    processes.said("one", 1)
    live.promoted = serving("two", 2)
    processes.said("two", 2)
    follower.close()


def test_that_nobody_can_be_told_is_said_once_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.processes.cut = True
    with caplog.at_level(logging.WARNING), scene.following():
        scene.live.promoted = serving("one", 1)
        scene.steps.step()
        assert scene.live.serving == serving("one", 1)
        assert caplog.text.count("the cable was pulled") == 1
        scene.processes.cut = False
        scene.steps.step()
        scene.processes.said("one", 1)
        scene.processes.cut = True  # and taking leave fails


def test_it_outlives_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(Followed(fault=ZeroDivisionError()))
    with scene.following():
        scene.live.promoted = serving("one", 1)
        scene.steps.step()
        scene.processes.said("one", 1)
    assert "ZeroDivisionError" in caplog.text


def test_one_that_was_not_started_can_be_closed() -> None:
    Follower(Followed(), Told()).close()
