"""Clients that ask without a pause and note in the history what they were answered."""

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
    """How much of what clients ask for: shares of all requests. The rest are estimates."""

    keyed: float = 0.1
    """Estimates with an idempotency key, which are asked again until they are answered."""
    find: float = 0.1
    list: float = 0.01
    erase: float = 0.0
    repeat: float = 0.0
    """Estimates with a key that was answered before, to anybody."""
    foreign: float = 0.2
    """Of what is found or erased: what any client was given by any service, not only what this one was by this one."""
    turn: float = 0.0
    """Requests before which a client turns to the next service, though it has not lost the one that it asks."""


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
    given: deque[str] = field(factory=lambda: deque(maxlen=200), init=False)
    """The ids of the last estimates of all."""
    keys: deque[tuple[int, str]] = field(factory=lambda: deque(maxlen=200), init=False)
    """The houses and keys of the last estimates that had one, of all."""
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
        seeds = [self.random.random() for _ in range(self.number)]
        with working(self._enough, *(partial(self._work, at, Random(seed)) for at, seed in enumerate(seeds))):
            yield

    def estimate(self) -> Operation | None:
        """Ask for one estimate, without a key. Returns it as it is noted, or None where nobody listens."""
        client = Client(self, 0, self.random)
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
        """What one client does."""
        client = Client(self, number % len(self.services), random)
        while not self._enough.is_set():
            client.ask()
        client.close()

    def note(self, operation: Operation) -> None:
        self.history.add(operation)
        if operation.action is Action.ESTIMATE and operation.status == 200:
            self.given.append(operation.answer["id"])
            if operation.key and operation.house is not None:
                self.keys.append((operation.house, operation.key))
            with self._answered:
                self._acknowledged += 1
                self._answered.notify_all()

    def noted(
        self, action: Action, service: Service, began: float, status: int | None, answer: Any, more: Mapping[str, Any]
    ) -> Operation:
        """Note a request that has just ended, and return it; a client that was refused pauses."""
        done = Operation(
            action,
            service.name,
            began,
            time.monotonic(),
            status,
            answer=_checked_part(action, status, answer),
            # a list that says that it is incomplete
            partial=action is Action.LIST and status == 200 and spool_of(answer) is not None,
            **more,
        )
        self.note(done)
        if status == 503:
            pause(0.05)
        return done


@contextmanager
def working(enough: Event, *jobs: Callable[[], None]) -> Iterator[None]:
    """Do jobs in threads until the block ends: each of them ends once `enough` is set."""
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
    """One client, which asks the service whose turn it is."""

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
        """Make one request of the mix."""
        mix, random = self._all.mix, self._random
        if random.random() < mix.turn:
            self.turn_to(self._turn + 1)
        if self._pending and random.random() < 0.5:  # else something that a service without its database answers
            self.estimate(*self._pending)
            return
        names = ("keyed", "find", "list", "erase", "repeat")
        shares = [getattr(mix, name) for name in names]
        (what,) = random.choices([*names, "estimate"], [*shares, max(0.0, 1 - sum(shares))])
        if what == "list":
            self._list()
        elif what == "repeat" and self._all.keys and not self._pending:
            self.estimate(*random.choice(self._all.keys))
        elif what in ("find", "erase") and (id_ := self._some_id()):
            action, method = (Action.FIND, "GET") if what == "find" else (Action.ERASE, "DELETE")
            self._ask(action, method, f"/predictions/{id_}", id=id_)
        else:
            house = next(self._all.houses)
            self.estimate(house, f"key-{house}" if what == "keyed" and not self._pending else None)

    def _some_id(self) -> str | None:
        """The id of an estimate, most often of one that this client was given by the service that it asks."""
        own = [id_ for name, id_ in self._own if name == self._service.name]
        foreign = self._random.random() < self._all.mix.foreign
        choices = self._all.given if foreign or not own else own
        return self._random.choice(choices) if choices else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def turn_to(self, turn: int) -> None:
        """Ask another service from now on."""
        if turn % len(self._all.services) != self._turn % len(self._all.services):
            self.close()
        self._turn = turn

    def estimate(self, house: int, key: str | None) -> Operation | None:
        """Ask for an estimate. Returns the operation as it is noted, or None where nobody listens."""
        headers = {"Idempotency-Key": key} if key else {}
        document = {"size": house, "bedrooms": 3, "age": 10}
        done = self._ask(Action.ESTIMATE, "POST", "/predict", document, headers, house=house, key=key)
        again = done is None or done.status is None or done.status >= 500
        if key is not None:
            self._pending = (house, key) if again else None
        if done and done.status == 200:
            self._own = [*self._own[-20:], (done.service, done.answer["id"])]
        return done

    def _list(self) -> None:
        self._ask(Action.LIST, "GET", f"/predictions?limit={PAGE}", limit=PAGE)

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
        except (OSError, http.client.HTTPException):
            lost = True
        if lost:
            self.close()
            self._turn += 1
        return self._all.noted(action, service, began, status, answer, more)


def _checked_part(action: Action, status: int | None, answer: Any) -> Any:
    """Return as much of an answer as the checkers look at."""
    if action in (Action.RECORD, Action.SALE):
        is_one = status in (200, 201, 202)
        return {name: answer[name] for name in ("id", "price") if name in answer} if is_one else None
    if status != 200:
        return None
    if action is Action.LIST:
        return [each["id"] for each in answer["predictions"]]
    estimated = action is Action.ESTIMATE
    return {
        "id": answer["id"],
        "size": (answer["input"] if estimated else answer)["size"],
        "prediction": answer["prediction" if estimated else "predicted_price"],
        "interval": answer["interval"],
        "model_version": answer["model_version"],
    }
