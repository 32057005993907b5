"""A client that reports sales of estimated houses, and checks that acknowledged ones are stored."""

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
    """Reports sales. Each has a unique price, and is reported only once, even if that fails."""

    service: Service
    history: History
    counts: Counter[str] = field(factory=Counter, init=False)
    """Answers by status."""
    _prices: Iterator[int] = field(factory=lambda: count(1), init=False)
    _predictions: dict[float, str] = field(factory=dict, init=False)
    """The ids of predictions by reported price."""
    _acknowledged: set[float] = field(factory=set, init=False)
    _enough: Event = field(factory=Event, init=False)

    @contextmanager
    def asking(self) -> Iterator[None]:
        with working(self._enough, self._work):
            yield

    def check(self, stored: Sequence[tuple[str, float]]) -> None:
        """Compare the acknowledged sales with the stored ones, each of which is a prediction and a price.

        Raises:
            Broken: if one was lost, stored twice or changed. Erasing a prediction may delete its sales.
        """
        erased = {operation.id for operation in self.history.operations if operation.action is Action.ERASE}
        by_price = {price: prediction for prediction, price in stored}
        lost = [price for price in self._acknowledged - by_price.keys() if self._predictions[price] not in erased]
        changed = [sale for sale in stored if self._predictions.get(sale[1]) != sale[0]]
        if lost or changed or len(by_price) < len(stored):
            raise Broken(f"sales lost: {lost}; changed: {changed}; stored twice: {len(stored) - len(by_price)}")

    def _work(self) -> None:
        while not self._enough.is_set():
            estimates = [
                operation
                for operation in self.history.operations[-200:]
                if operation.action is Action.ESTIMATE and operation.status == 200
            ]
            if estimates:
                self._report(estimates[-1].answer["id"])
            pause(0.002)

    def _report(self, prediction: str) -> None:
        price = float(next(self._prices))
        self._predictions[price] = prediction
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
