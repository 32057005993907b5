"""A PredictionRepository in any sequence of calls; `predictions` has the suite that runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import PredictionRepository
from housepredict.testing.drawn_predictions import AFTER_ALL, batches, new_ids, newest_first, pages, prune_all

Another = Callable[[], AbstractContextManager[PredictionRepository]]


class PredictionRepositoryMachine(RuleBasedStateMachine):
    """Does to a repository what a service does, in any order, and compares it with a dictionary.

    One repository serves all runs: the ids of a run are above those of the runs before it.
    """

    def __init__(self, repository: PredictionRepository, another: Another | None, complete: bool = True) -> None:
        super().__init__()
        self.complete = complete
        self.open = another or (lambda: nullcontext(repository))
        self.repository = repository
        self.first = new_ids.take(1, datetime.now(UTC))[0]
        self.recorded: dict[UUID, Prediction] = {}
        self.erased: dict[UUID, Prediction] = {}
        self.pruned: dict[UUID, Prediction] = {}
        self.cleared = False

    @rule(batch=batches())
    def append(self, batch: list[Prediction]) -> None:
        """Record something new."""
        self.repository.append(batch)
        self.recorded |= {each.id: each for each in batch}

    @rule(new=batches(), data=st.data())
    def append_again(self, new: list[Prediction], data: st.DataObject) -> None:
        """Record something new together with something known, through another repository over the same data."""
        before = [*self.recorded.values(), *self.erased.values(), *self.pruned.values()]
        known = data.draw(st.lists(st.sampled_from(before), max_size=4)) if before else []
        with self.open() as other:
            other.append([*known, *new])
        self.recorded |= {each.id: each for each in new}

    @rule(limit=st.integers(0, 10))
    def read_the_newest(self, limit: int) -> None:
        """Read one page."""
        expected = newest_first(list(self.recorded.values()))[:limit]
        assert list(self.repository.recent(limit))[: len(expected)] == expected

    @rule(data=st.data())
    def find_some(self, data: st.DataObject) -> None:
        """Look for some by their ids."""
        ids = data.draw(st.lists(st.sampled_from(list(self.recorded)), max_size=4)) if self.recorded else []
        assert list(self.repository.find(ids)) == [self.recorded[each] for each in sorted(set(ids))]

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), unknown=batches())
    def erase(self, data: st.DataObject, unknown: list[Prediction]) -> None:
        """Erase some that are known, and some that are not, through another repository over the same data."""
        known = data.draw(st.lists(st.sampled_from(list(self.recorded)), max_size=2)) if self.recorded else []
        with self.open() as other:
            assert other.erase([*known, *(each.id for each in unknown)]) == len(set(known))
        self.erased |= {each: self.recorded.pop(each) for each in set(known)}
        self.erased |= {each.id: each for each in unknown}

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), limit=st.integers(1, 5))
    def prune(self, data: st.DataObject, limit: int) -> None:
        """Forget the oldest."""
        if not self.cleared:
            prune_all(self.repository, self.first)
            self.cleared = True
        ids = sorted(self.recorded | self.erased)
        before = data.draw(st.sampled_from([*ids, AFTER_ALL]))
        pruned = [each for each in ids if each < before][:limit]
        assert self.repository.prune(before, limit) == len(pruned)
        for each in pruned:
            self.pruned[each] = (self.recorded if each in self.recorded else self.erased).pop(each)

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), limit=st.integers(0, 10))
    def read_between(self, data: st.DataObject, limit: int) -> None:
        """Read a span of ids."""
        ids = sorted([self.first, *self.recorded, *self.erased, AFTER_ALL])
        first, end = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(ids))
        inside = [self.recorded[each] for each in sorted(self.recorded) if first <= each < end]
        assert list(self.repository.between(first, end, limit)) == inside[:limit]

    @rule(size=st.integers(1, 5))
    def read_everything(self, size: int) -> None:
        """Page through all of it, through another repository over the same data."""
        with self.open() as other:
            assert list(pages(other, size, self.first)) == newest_first(list(self.recorded.values()))
