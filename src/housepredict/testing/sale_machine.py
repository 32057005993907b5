"""A SaleRepository in any sequence of calls; `sales` has the suite that runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import date

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from housepredict.domain.deliveries import Delivery
from housepredict.domain.errors import RepeatedKey
from housepredict.domain.ports import SaleRepository
from housepredict.domain.recorded_sales import RecordedSale
from housepredict.testing.drawn_sales import DIGESTS, batches, by_id, counting, new_delivery, new_ids

Another = Callable[[], AbstractContextManager[SaleRepository]]


class SaleRepositoryMachine(RuleBasedStateMachine):
    """Does to a repository what a service does, in any order, and compares it with a list.

    One repository serves all runs: each has predictions and keys of its own.
    """

    def __init__(self, repository: SaleRepository, another: Another | None) -> None:
        super().__init__()
        self.open = another or (lambda: nullcontext(repository))
        self.repository = repository
        self.predictions = new_ids(4)
        self.deliveries = [new_delivery(digest).key for digest in DIGESTS]
        self.recorded: list[RecordedSale] = []
        self.delivered: dict[str, tuple[str, list[RecordedSale]]] = {}

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        """Record sales and corrections, through another repository over the same data."""
        batch = data.draw(batches(self.predictions))
        with self.open() as other:
            assert list(other.append(batch)) == by_id(batch)
        self.recorded += batch

    @rule(data=st.data(), digest=st.sampled_from(DIGESTS))
    def deliver(self, data: st.DataObject, digest: str) -> None:
        """Record under a key that may have been used before, for the same or for something else."""
        batch, key = data.draw(batches(self.predictions)), data.draw(st.sampled_from(self.deliveries))
        first, known = self.delivered.setdefault(key, (digest, by_id(batch)))
        if first != digest:
            with pytest.raises(RepeatedKey):
                self.repository.append(batch, Delivery(key, digest))
            return
        assert list(self.repository.append(batch, Delivery(key, digest))) == known
        if known == by_id(batch):
            self.recorded += batch

    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        """Erase the sales of some predictions, through another repository over the same data."""
        erased = data.draw(st.lists(st.sampled_from(self.predictions), max_size=2, unique=True))
        kept = [each for each in self.recorded if each.prediction not in erased]
        with self.open() as other:
            assert other.erase(erased) == len(self.recorded) - len(kept)
        self.recorded = kept
        for key, (digest, known) in self.delivered.items():
            self.delivered[key] = digest, [each for each in known if each.prediction not in erased]

    @rule(since=st.none() | st.dates(), until=st.none() | st.dates())
    def read_what_counts(self, since: date | None, until: date | None) -> None:
        """Read the sales that count, through another repository over the same data."""
        with self.open() as other:
            read = other.current(since, until)
        expected = [
            each for each in counting(self.recorded) if (since or date.min) <= each.sold_on <= (until or date.max)
        ]
        assert [each for each in read if each.prediction in self.predictions] == expected

    @rule(data=st.data())
    def read_a_history(self, data: st.DataObject) -> None:
        """Read all that was recorded of a prediction."""
        prediction = data.draw(st.sampled_from(self.predictions))
        expected = [each for each in by_id(self.recorded) if each.prediction == prediction]
        assert list(self.repository.history(prediction)) == expected
