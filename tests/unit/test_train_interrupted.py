"""A training that is interrupted at any of its steps: the log says so, and nothing is stored or locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import frozen

from housepredict.adapters.memory import InMemoryModels, InMemoryTrainings
from housepredict.domain.training_status import TrainingState, TrainingStatus
from tests.training import OPTIONS, ListedSales, ListedTrainer, ignore, training


def interrupt(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


@frozen
class InterruptedSales(ListedSales):
    read = interrupt


class InterruptedLog(InMemoryTrainings):
    """A log that is interrupted as soon as it has the training."""

    def begin(self, record: TrainingStatus) -> None:
        super().begin(record)
        raise KeyboardInterrupt


@contextmanager
def interrupted_at_its_end() -> Iterator[None]:
    yield
    raise KeyboardInterrupt


STEPS: dict[str, dict[str, Any]] = {
    "begin": {"log": InterruptedLog()},
    "read": {"source": InterruptedSales("/sales.csv")},
    "fit": {"trainer": ListedTrainer(fault=KeyboardInterrupt())},
    "progress": {"progress": interrupt},
    "load": {"load": interrupt},
}


@pytest.mark.parametrize("step", STEPS)
def test_training_interrupted_before_it_stores_is_cancelled(step: str) -> None:
    models, parts = InMemoryModels(), dict(STEPS[step])
    log = parts.pop("log", None) or InMemoryTrainings()
    source, progress = parts.pop("source", ListedSales("/sales.csv")), parts.pop("progress", ignore)
    with pytest.raises(KeyboardInterrupt):
        training(models=models, log=log, **parts)(source, OPTIONS, progress)
    assert_ended(log, TrainingState.CANCELLED)
    assert models.versions() == []
    with models.training():
        pass  # The lock is free.


def test_training_interrupted_after_storing_has_succeeded() -> None:
    models, log = InMemoryModels(), InMemoryTrainings()
    with pytest.raises(KeyboardInterrupt):
        training(models=models, log=log, uninterrupted=interrupted_at_its_end)(
            ListedSales("/sales.csv"), OPTIONS, ignore
        )
    assert_ended(log, TrainingState.SUCCEEDED)
    (version,) = models.versions()
    assert models.pointer().name == version.name


def assert_ended(log: InMemoryTrainings, state: TrainingState) -> None:
    (record,) = log.recent(10)
    assert record.state is state


def test_interrupting_steps_raise() -> None:
    steps: list[Callable[..., Any]] = [interrupt, InterruptedSales("/sales.csv").read]
    for step in steps:
        with pytest.raises(KeyboardInterrupt):
            step()
