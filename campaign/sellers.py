"""A client that reports a sale for one estimate after the other, and notes which of them were acknowledged."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import Event

from attrs import define, field

from campaign.clients import working
from campaign.history import Action, History
from campaign.services import Service, ask, pause
from campaign.trials import Broken


@define
class Sellers:
    """Each sale has a price of its own, and is reported once, whatever comes of it."""

    service: Service
    history: History
    counts: Counter[str] = field(factory=Counter, init=False)
    """Answers by status."""
    _prices: Iterator[int] = field(factory=lambda: count(1), init=False)
    _asked: dict[float, str] = field(factory=dict, init=False)
    """The prediction, by the price that was reported for it."""
    _acknowledged: set[float] = field(factory=set, init=False)
    _enough: Event = field(factory=Event, init=False)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Report sales until the block ends."""
        with working(self._enough, self._work):
            yield

    def check(self, stored: Sequence[tuple[str, float]]) -> None:
        """Compare the sales that were acknowledged with the stored ones: a prediction and a price each.

        Raises:
            Broken: if one was lost, stored twice or changed. Erasing a prediction takes its sales along.
        """
        erased = {each.id for each in self.history.operations if each.action is Action.ERASE}
        by_price = {price: prediction for prediction, price in stored}
        lost = [each for each in self._acknowledged - by_price.keys() if self._asked[each] not in erased]
        changed = [each for each in stored if self._asked.get(each[1]) != each[0]]
        if lost or changed or len(by_price) < len(stored):
            raise Broken(f"of the sales, {lost} were lost, {changed} changed, {len(stored) - len(by_price)} are twice")

    def _work(self) -> None:
        while not self._enough.is_set():
            estimates = [
                each for each in self.history.operations[-200:] if each.action is Action.ESTIMATE and each.status == 200
            ]
            if estimates:
                self._report(estimates[-1].answer["id"])
            pause(0.002)

    def _report(self, prediction: str) -> None:
        price = float(next(self._prices))
        self._asked[price] = prediction
        document = {"price": price, "date": "2025-06-03"}
        try:
            status, _ = ask(self.service.port, "POST", f"/predictions/{prediction}/sale", document)
        except (OSError, http.client.HTTPException):
            self.counts["sale: no answer"] += 1
            pause(0.02)
            return
        self.counts[f"sale: {status}"] += 1
        if status in (201, 202):
            self._acknowledged.add(price)
