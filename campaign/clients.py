"""Clients that send requests without pauses, and add each with its answer to the history."""

from __future__ import annotations

import http.client
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from random import Random
from threading import Condition, Event
from typing import Any

from attrs import define, field, frozen

from campaign.history import Action, History, Operation
from campaign.services import LONG, Service, pause, send, spool_of

PAGE = 100


@frozen
class Mix:
    """The mix of requests: shares of all requests. The rest are estimates without a key."""

    keyed: float = 0.1
    """Estimates with an idempotency key, which are repeated until they are answered."""
    find: float = 0.1
    list: float = 0.01
    erase: float = 0.0
    repeat: float = 0.0
    """Estimates with a key that any client has used before."""
    foreign: float = 0.2
    """Share of finds and erasures of any client's predictions from any service, not only its own from this service."""
    turn: float = 0.0
    """Share of requests before which a client switches to the next service without having lost its connection."""


@define
class Clients:
    """Clients that are each connected to one service at a time.

    Each estimate is for a house with a unique number. A client that loses its connection, or can't connect, switches to
    the next service.
    """

    services: Sequence[Service]
    history: History
    random: Random
    mix: Mix = field(factory=Mix)
    number: int = 4
    houses: Iterator[int] = field(factory=lambda: count(1), init=False)
    """Numbers of new houses."""
    recent_ids: deque[str] = field(factory=lambda: deque(maxlen=200), init=False)
    """The ids of the latest estimates of all clients."""
    keys: deque[tuple[int, str]] = field(factory=lambda: deque(maxlen=200), init=False)
    """The houses and keys of the latest estimates with a key, of all clients."""
    _acknowledged: int = field(default=0, init=False)
    _answered: Condition = field(factory=Condition, init=False)
    _enough: Event = field(factory=Event, init=False)

    @property
    def acknowledged(self) -> int:
        return self._acknowledged

    @contextmanager
    def asking(self) -> Iterator[None]:
        seeds = [self.random.random() for _ in range(self.number)]
        with working(self._enough, *(partial(self._work, at, Random(seed)) for at, seed in enumerate(seeds))):
            yield

    def estimate(self) -> Operation | None:
        """Request one estimate without a key. Returns the operation, or None if no service accepts connections."""
        client = Client(self, 0, self.random)
        try:
            return client.estimate(next(self.houses), None)
        finally:
            client.close()

    def wait_for(self, acknowledged: int, within: float = LONG) -> None:
        """Wait until `acknowledged` more estimates have been acknowledged, at most `within` seconds."""
        with self._answered:
            target = self._acknowledged + acknowledged
            reached = self._answered.wait_for(lambda: self._acknowledged >= target, within)
            assert reached, f"fewer than {acknowledged} estimates within {within} s"

    def _work(self, number: int, random: Random) -> None:
        client = Client(self, number % len(self.services), random)
        while not self._enough.is_set():
            client.ask()
        client.close()

    def note(self, operation: Operation) -> None:
        self.history.add(operation)
        if operation.action is Action.ESTIMATE and operation.status == 200:
            self.recent_ids.append(operation.answer["id"])
            if operation.key and operation.house is not None:
                self.keys.append((operation.house, operation.key))
            with self._answered:
                self._acknowledged += 1
                self._answered.notify_all()

    def noted(
        self, action: Action, service: Service, began: float, status: int | None, answer: Any, more: Mapping[str, Any]
    ) -> Operation:
        """Add a request that has just ended to the history, and return it. Pauses after the status 503."""
        done = Operation(
            action,
            service.name,
            began,
            time.monotonic(),
            status,
            answer=_checked_part(action, status, answer),
            partial=action is Action.LIST and status == 200 and spool_of(answer) is not None,
            **more,
        )
        self.note(done)
        if status == 503:
            pause(0.05)
        return done


@contextmanager
def working(enough: Event, *jobs: Callable[[], None]) -> Iterator[None]:
    """Run jobs in threads until the block ends. Each must end once `enough` is set."""
    enough.clear()
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job) for job in jobs]
        try:
            yield
        finally:
            enough.set()
    for job in running:
        job.result()


@define
class Client:
    """One client, which is connected to one of the services."""

    _all: Clients
    _turn: int
    _random: Random
    _connection: http.client.HTTPConnection | None = field(default=None, init=False)
    _own_estimates: list[tuple[str, str]] = field(factory=list, init=False)
    """The services and ids of its latest estimates."""
    _pending: tuple[int, str] | None = field(default=None, init=False)
    """The house and key of an unanswered estimate."""

    @property
    def _service(self) -> Service:
        return self._all.services[self._turn % len(self._all.services)]

    def ask(self) -> None:
        mix, random = self._all.mix, self._random
        if random.random() < mix.turn:
            self.turn_to(self._turn + 1)
        if (
            self._pending and random.random() < 0.5
        ):  # otherwise something that a service can answer without its database
            self.estimate(*self._pending)
            return
        names = ("keyed", "find", "list", "erase", "repeat")
        shares = [getattr(mix, name) for name in names]
        (kind,) = random.choices([*names, "estimate"], [*shares, max(0.0, 1 - sum(shares))])
        if kind == "list":
            self._list()
        elif kind == "repeat" and self._all.keys and not self._pending:
            self.estimate(*random.choice(self._all.keys))
        elif kind in ("find", "erase") and (id_ := self._some_id()):
            action, method = (Action.FIND, "GET") if kind == "find" else (Action.ERASE, "DELETE")
            self._ask(action, method, f"/predictions/{id_}", id=id_)
        else:
            house = next(self._all.houses)
            self.estimate(house, f"key-{house}" if kind == "keyed" and not self._pending else None)

    def _some_id(self) -> str | None:
        """Choose the id of an estimate, most often of one that this client got from its current service."""
        own_ids = [id_ for name, id_ in self._own_estimates if name == self._service.name]
        foreign = self._random.random() < self._all.mix.foreign
        choices = self._all.recent_ids if foreign or not own_ids else own_ids
        return self._random.choice(choices) if choices else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def turn_to(self, turn: int) -> None:
        if turn % len(self._all.services) != self._turn % len(self._all.services):
            self.close()
        self._turn = turn

    def estimate(self, house: int, key: str | None) -> Operation | None:
        """Request an estimate. Returns the operation, or None if the service accepts no connections."""
        headers = {"Idempotency-Key": key} if key else {}
        document = {"size": house, "bedrooms": 3, "age": 10}
        done = self._ask(Action.ESTIMATE, "POST", "/predict", document, headers, house=house, key=key)
        is_unanswered = done is None or done.status is None or done.status >= 500
        if key is not None:
            self._pending = (house, key) if is_unanswered else None
        if done and done.status == 200:
            self._own_estimates = [*self._own_estimates[-20:], (done.service, done.answer["id"])]
        return done

    def _list(self) -> None:
        self._ask(Action.LIST, "GET", f"/predictions?limit={PAGE}", limit=PAGE)

    def _ask(
        self, action: Action, method: str, path: str, document: object = None, headers: Any = None, **more: Any
    ) -> Operation | None:
        """Send a request. Returns the operation, or None if the service accepts no connections."""
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
            lost = self._connection.sock is None  # the service has announced the end of the connection
        except (OSError, http.client.HTTPException):
            lost = True
        if lost:
            self.close()
            self._turn += 1
        return self._all.noted(action, service, began, status, answer, more)


def _checked_part(action: Action, status: int | None, answer: Any) -> Any:
    """Return the part of an answer that the checkers use."""
    if action in (Action.RECORD, Action.SALE):
        is_sale = status in (200, 201, 202)
        return {name: answer[name] for name in ("id", "price") if name in answer} if is_sale else None
    if status != 200:
        return None
    if action is Action.LIST:
        return [prediction["id"] for prediction in answer["predictions"]]
    is_estimate = action is Action.ESTIMATE
    return {
        "id": answer["id"],
        "size": (answer["input"] if is_estimate else answer)["size"],
        "prediction": answer["prediction" if is_estimate else "predicted_price"],
        "interval": answer["interval"],
        "model_version": answer["model_version"],
    }
