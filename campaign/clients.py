"""Clients that ask without a pause and note in the history what they were answered."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from random import Random
from threading import Condition, Event
from typing import Any

from attrs import define, field, frozen

from campaign.history import Action, History, Operation
from campaign.services import LONG, Service, pause, send


@frozen
class Mix:
    """How much of what clients ask for: shares of all requests. The rest are estimates."""

    keyed: float = 0.1
    """Estimates with an idempotency key, which are asked again until they are answered."""
    find: float = 0.1
    list: float = 0.01
    erase: float = 0.0


@define
class Clients:
    """So many clients, each with a connection to one service at a time.

    Each estimate is of a house with a number of its own. A client that loses its connection, or finds nobody, turns to
    the next service.
    """

    services: Sequence[Service]
    history: History
    random: Random
    mix: Mix = field(factory=Mix)
    number: int = 4
    houses: Iterator[int] = field(factory=lambda: count(1), init=False)
    """Numbers that no client has asked for yet."""
    _acknowledged: int = field(default=0, init=False)
    _answered: Condition = field(factory=Condition, init=False)
    _enough: Event = field(factory=Event, init=False)

    @property
    def acknowledged(self) -> int:
        """How many estimates have been acknowledged."""
        return self._acknowledged

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask until the block ends."""
        self._enough.clear()
        with ThreadPoolExecutor(self.number) as pool:
            seeds = [self.random.random() for _ in range(self.number)]
            working = [pool.submit(self._work, number, Random(seed)) for number, seed in enumerate(seeds)]
            try:
                yield
            finally:
                self._enough.set()
        for each in working:
            each.result()

    def estimate(self) -> Operation | None:
        """Ask for one estimate, without a key. Returns it as it is noted, or None where nobody listens."""
        client = _Client(self, 0, self.random)
        try:
            return client.estimate(next(self.houses), None)
        finally:
            client.close()

    def wait_for(self, acknowledged: int, within: float = LONG) -> None:
        """Return when so many more estimates have been acknowledged."""
        with self._answered:
            wanted = self._acknowledged + acknowledged
            came = self._answered.wait_for(lambda: self._acknowledged >= wanted, within)
            assert came, f"no {acknowledged} estimates within {within} s"

    def _work(self, number: int, random: Random) -> None:
        client = _Client(self, number % len(self.services), random)
        while not self._enough.is_set():
            client.ask()
        client.close()

    def note(self, operation: Operation) -> None:
        self.history.add(operation)
        if operation.action is Action.ESTIMATE and operation.status == 200:
            with self._answered:
                self._acknowledged += 1
                self._answered.notify_all()


@define
class _Client:
    _all: Clients
    _turn: int
    _random: Random
    _connection: http.client.HTTPConnection | None = field(default=None, init=False)
    _own: list[tuple[str, str]] = field(factory=list, init=False)
    """The service and the id of its last estimates."""
    _pending: tuple[int, str] | None = field(default=None, init=False)
    """The house and the key of an estimate that was not answered."""

    @property
    def _service(self) -> Service:
        return self._all.services[self._turn % len(self._all.services)]

    def ask(self) -> None:
        """Make one request."""
        mix, dice = self._all.mix, self._random.random()
        here = [id_ for name, id_ in self._own if name == self._service.name]
        if self._pending:
            self.estimate(*self._pending)
        elif dice < mix.keyed:
            house = next(self._all.houses)
            self.estimate(house, f"key-{house}")
        elif dice < mix.keyed + mix.find and here:
            self._find(self._random.choice(here))
        elif dice < mix.keyed + mix.find + mix.list:
            self._list()
        elif dice < mix.keyed + mix.find + mix.list + mix.erase and here:
            id_ = self._random.choice(here)
            self._ask(Action.ERASE, "DELETE", f"/predictions/{id_}", id=id_)
        else:
            self.estimate(next(self._all.houses), None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def estimate(self, house: int, key: str | None) -> Operation | None:
        """Ask for an estimate, as `Clients.estimate` does."""
        headers = {"Idempotency-Key": key} if key else {}
        document = {"size": house, "bedrooms": 3, "age": 10}
        done = self._ask(Action.ESTIMATE, "POST", "/predict", document, headers, house=house, key=key)
        again = key is not None and (done is None or done.status is None or done.status >= 500)
        self._pending = (house, key) if key and again else None
        if done and done.status == 200:
            self._own = [*self._own[-20:], (done.service, done.answer["id"])]
        return done

    def _find(self, id_: str) -> None:
        self._ask(Action.FIND, "GET", f"/predictions/{id_}", id=id_)

    def _list(self) -> None:
        self._ask(Action.LIST, "GET", "/predictions?limit=100")

    def _ask(
        self, action: Action, method: str, path: str, document: object = None, headers: Any = None, **more: Any
    ) -> Operation | None:
        """The operation as it is noted, or None where nobody listens."""
        service = self._service
        if self._connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LONG)
            try:
                connection.connect()
            except OSError:
                self._turn += 1
                pause(0.02)
                return None
            self._connection = connection
        began, status, answer = time.monotonic(), None, None
        try:
            status, answer = send(self._connection, method, path, document, headers)
            lost = self._connection.sock is None  # the service said that it closes the connection
        except (OSError, http.client.HTTPException, ValueError):
            lost = True
        if lost:
            self.close()
            self._turn += 1
        done = Operation(
            action, service.name, began, time.monotonic(), status, answer=_kept(action, status, answer), **more
        )
        self._all.note(done)
        if status == 503:
            pause(0.05)
        return done


def _kept(action: Action, status: int | None, answer: Any) -> Any:
    """As much of an answer as the checker looks at."""
    if status != 200:
        return None
    if action is Action.LIST:
        return None if "behind" in answer else [each["id"] for each in answer["predictions"]]
    price = answer["prediction"] if "prediction" in answer else answer["predicted_price"]
    return {"id": answer["id"], "prediction": price, "model_version": answer["model_version"]}
