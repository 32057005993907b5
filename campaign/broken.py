"""`housepredict` with one broken part, to prove that tests and the checker's rules notice it.

python -m campaign.broken KIND serve …
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from random import random, randrange
from threading import Timer
from typing import Any, ClassVar
from uuid import UUID

from attrs import evolve, frozen

from campaign.checker import Rule
from housepredict.domain.estimates import Prediction
from housepredict.domain.idempotency import Delivery
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.ports import (
    AppendsInLoop,
    Backlog,
    HasBacklog,
    PredictionKeys,
    PredictionRepository,
)
from housepredict.domain.usecases.predict import Predict
from housepredict.entrypoints.cli import main as cli
from housepredict.entrypoints.composition import Application, Storage
from housepredict.entrypoints.settings import Settings

_ids = IdSequence()
_NO_BACKLOG = Backlog(pending=0, oldest=None, dead_letters=0)


@frozen
class _Decorator:
    """A decorator of a repository whose appends may change the predictions."""

    _sound: Any
    _is_in_loop: ClassVar[bool] = True

    def append(self, predictions: Sequence[Prediction]) -> None:
        self._sound.append(self._changed(predictions))

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        is_in_loop = self._is_in_loop and isinstance(self._sound, AppendsInLoop)
        return is_in_loop and self._sound.append_in_loop(self._changed(predictions), done)

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        if isinstance(self._sound, HasBacklog):
            self._sound.append_shared(predictions)
        else:
            self._sound.append(predictions)

    def backlog(self) -> Backlog:
        return self._sound.backlog() if isinstance(self._sound, HasBacklog) else _NO_BACKLOG

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        if isinstance(self._sound, HasBacklog):
            return self._sound.recent_and_backlog(limit, before)
        return self._sound.recent(limit, before), _NO_BACKLOG

    def _changed(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        return predictions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sound, name)


class _Lossy(_Decorator):
    """Drops the first prediction of each batch."""

    def _changed(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        return predictions[1:]


class _Duplicating(_Decorator):
    """Stores each prediction twice, the second time with another id."""

    def _changed(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        ids = _ids.take(len(predictions), predictions[0].created_at) if predictions else ()
        return [*predictions, *(evolve(each, id=id_) for each, id_ in zip(predictions, ids, strict=True))]


class _Changing(_Decorator):
    """Changes the prices."""

    def _changed(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        return [evolve(each, estimate=evolve(each.estimate, price=each.price + 1)) for each in predictions]


class _Late(_Decorator):
    """Stores batches half a second after it acknowledges them."""

    _is_in_loop = False

    def append(self, predictions: Sequence[Prediction]) -> None:
        timer = Timer(0.5, self._sound.append, [predictions])
        timer.daemon = True
        timer.start()


class _Failing(_Decorator):
    """Raises an unexpected exception for half of the batches."""

    def _changed(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        if random() < 0.5:
            raise RuntimeError("broken")
        return predictions


class _Reordering(_Decorator):
    """Lists the newest predictions oldest first."""

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        newest: Sequence[Prediction] = self._sound.recent(limit, before)
        return newest[::-1]

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        newest, backlog = super().recent_and_backlog(limit, before)
        return newest[::-1], backlog


class _Unerasing(_Decorator):
    """Confirms erasures, and erases nothing."""

    def erase(self, ids: Sequence[UUID]) -> int:
        return len(ids)


@frozen
class _Forgetful:
    """Keys that store nothing."""

    _sound: Any

    def find(self, _delivery: Delivery) -> None:
        return None

    def reserve(self, _delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        return ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sound, name)


class _Backwards(IdSequence):
    """Gives half of the batches ids from an hour ago."""

    def take(self, count: int, now: datetime, above: UUID | None = None) -> Sequence[UUID]:
        return IdSequence().take(count, now - timedelta(hours=randrange(2)), above)


def _unchanged(repository: Any) -> Any:
    return repository


@frozen
class Break:
    """A broken part, and the rule that must notice it."""

    rule: Rule | None
    predictions: Callable[[Any], Any] = _unchanged
    keys: Callable[[Any], Any] = _unchanged
    ids: IdSequence | None = None


BREAKS: Mapping[str, Break] = {
    "sound": Break(None),
    "lossy": Break(Rule.LOST, _Lossy),
    "duplicating": Break(Rule.TWICE, _Duplicating),
    "changing": Break(Rule.CHANGED, _Changing),
    "late": Break(Rule.LATE, _Late),
    "failing": Break(Rule.FAILED, _Failing),
    "reordering": Break(Rule.ORDER, _Reordering),
    "backwards": Break(Rule.ORDER, ids=_Backwards()),
    "unerasing": Break(Rule.ERASED, _Unerasing),
    "forgetful": Break(Rule.UNEQUAL, keys=_Forgetful),
}
"""By kind. In `sound`, nothing is broken."""


class _Storage(Storage):
    broken: ClassVar[Break]

    @cached_property
    def predictions(self) -> PredictionRepository:
        repository: PredictionRepository = self.broken.predictions(super().predictions)
        return repository

    @cached_property
    def prediction_keys(self) -> PredictionKeys:
        keys: PredictionKeys = self.broken.keys(super().prediction_keys)
        return keys


class _Application(Application):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, _Storage(settings))

    @cached_property
    def predict(self) -> Predict:
        sound = super().predict
        return evolve(sound, ids=_Storage.broken.ids) if _Storage.broken.ids else sound


if __name__ == "__main__":
    _Storage.broken = BREAKS[sys.argv[1]]
    sys.exit(cli.main(sys.argv[2:], application=_Application))
