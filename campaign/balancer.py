"""Clients behind a load balancer. None of their requests may fail while services are replaced one after the other.

The balancer works like common ones. It polls `/health/ready` of each service ten times a second, sends requests only to
services whose last answer was 200, reuses idle connections unless they were closed, and never repeats a request.
"""

from __future__ import annotations

import http.client
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from random import Random
from threading import Event
from typing import Any

from attrs import define, field, frozen

from campaign.clients import PAGE, Clients, working
from campaign.history import Action, Operation
from campaign.services import LONG, Service, begin, finish, pause

DRAIN = 1.0
"""Seconds for which a stopping service reports that it isn't ready."""
_POLL_INTERVAL_S = 0.1
_MAX_KNOWN_ESTIMATES = 300
"""Number of its latest estimates that a client uses."""


@define
class Outages:
    """The outages of the database. Each lasts until all services have drained their spools."""

    _spans: list[tuple[float, float]] = field(factory=list, init=False)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Record an outage that lasts until the block ends."""
        began = time.monotonic()
        self._spans.append((began, float("inf")))
        yield
        self._spans[-1] = (began, time.monotonic())

    def overlap(self, began: float, ended: float) -> bool:
        """Return whether there was one between two times on the monotonic clock."""
        return any(first < ended and began < last for first, last in self._spans)


@frozen
class _Poll:
    began: float
    status: int | None


@define
class Balancer:
    """Polls the readiness of services."""

    services: Sequence[Service]
    none_ready: list[str] = field(factory=list, init=False)
    """The statuses of all services, for each request that found none of several services ready."""
    _polls: dict[str, _Poll] = field(factory=dict, init=False)

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Poll all services until the block ends."""
        enough = Event()
        for service in self.services:
            self._poll(service)
        with working(enough, *(partial(self._poll_until, enough, service) for service in self.services)):
            yield

    def ready(self) -> list[tuple[Service, float]]:
        """Return the ready services, each with the time on the monotonic clock until which requests may be sent."""
        polls = [(service, self._polls[service.name]) for service in self.services]
        if len(polls) > 1 and all(poll.status != 200 for _, poll in polls):
            self.none_ready.append(str({service.name: poll.status for service, poll in polls}))
        now = time.monotonic()
        return [
            (service, poll.began + DRAIN / 2)
            for service, poll in polls
            if poll.status == 200 and now < poll.began + DRAIN / 2
        ]

    def wait_until_ready(self, service: Service) -> None:
        """Wait until requests may be sent to a service."""
        until = time.monotonic() + LONG
        while service not in [ready for ready, _ in self.ready()]:
            assert time.monotonic() < until, f"the balancer doesn't notice that {service.name} is ready"
            pause(_POLL_INTERVAL_S)

    def _poll_until(self, enough: Event, service: Service) -> None:
        while not enough.wait(_POLL_INTERVAL_S):
            self._poll(service)

    def _poll(self, service: Service) -> None:
        began = time.monotonic()
        self._polls[service.name] = _Poll(began, service.readiness()[0])


@frozen
class Shares:
    """The mix of requests: shares of all requests. The rest are estimates without a key."""

    keyed: float = 0.15
    repeat: float = 0.06
    """Estimates with a key that was answered before, perhaps by another release."""
    find: float = 0.15
    list: float = 0.01
    erase: float = 0.02
    record: float = 0.06
    record_again: float = 0.02
    sale: float = 0.04


@define
class BalancedClients(Clients):
    """Clients that send each request to one of the ready services."""

    balancer: Balancer = field(kw_only=True)
    outages: Outages = field(factory=Outages, kw_only=True)
    shares: Shares = field(factory=Shares, kw_only=True)
    unavoidable: list[Operation] = field(factory=list, init=False)
    """Requests without an answer that no balancer could have avoided."""
    sales: Iterator[int] = field(factory=count, kw_only=True)
    """Numbers of new sales."""

    @property
    def operations(self) -> list[Operation]:
        """The operations of these clients, in a history that other clients may share."""
        names = {service.name for service in self.services}
        return [operation for operation in self.history.operations if operation.service in names]

    def _work(self, number: int, random: Random) -> None:  # noqa: ARG002 (all clients use the same services)
        client = _Client(self, random)
        while not self._enough.is_set():
            client.ask()
        client.close()


@define
class _Estimate:
    """An estimate that a client received."""

    id: str
    service: str
    house: int
    key: str | None
    may_be_spooled: bool
    """Whether it was made during an outage, so that it may be stored only in the spool of its service."""
    sale: float | None = None
    """The price of the sale that was sent for it."""
    is_erased: bool = False


@define
class _Client:
    _all: BalancedClients
    _random: Random
    _connections: dict[str, http.client.HTTPConnection] = field(factory=dict, init=False)
    _estimates: list[_Estimate] = field(factory=list, init=False)
    _pending: tuple[int, str] | None = field(default=None, init=False)
    """The house and key of an estimate that was rejected or not answered."""

    def ask(self) -> None:
        """Send one request, and pause: upgrades take seconds, so they don't need many requests."""
        shares = self._all.shares
        kinds = {
            self._keyed: shares.keyed,
            self._repeat: shares.repeat,
            self._find: shares.find,
            self._list: shares.list,
            self._erase: shares.erase,
            self._record: shares.record,
            self._record_again: shares.record_again,
            self._sale: shares.sale,
        }
        rest = 1 - sum(kinds.values())
        [kind] = self._random.choices([*kinds, self._plain], [*kinds.values(), rest])
        kind()
        pause(0.03)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _plain(self) -> None:
        self._estimate(next(self._all.houses), None)

    def _keyed(self) -> None:
        if self._pending is None:
            house = next(self._all.houses)
            self._pending = (house, f"key-{house}")
        done = self._estimate(*self._pending)
        if done and done.status is not None and done.status < 500:
            self._pending = None

    def _repeat(self) -> None:
        """Repeat a key whose estimate is in the database: for others, the answer isn't determined."""
        if known := self._one_of(lambda estimate: estimate.key is not None and not estimate.may_be_spooled):
            self._estimate(known.house, known.key)

    def _find(self) -> None:
        if known := self._one_of(lambda _: True):
            self._ask(Action.FIND, "GET", f"/predictions/{known.id}", id=known.id)

    def _list(self) -> None:
        self._ask(Action.LIST, "GET", f"/predictions?limit={PAGE}", limit=PAGE)

    def _erase(self) -> None:
        """Erase an estimate that can't be in a spool: its service could show it until the outage ends."""
        if known := self._one_of(lambda estimate: not estimate.may_be_spooled and not estimate.is_erased):
            known.is_erased = True
            self._ask(Action.ERASE, "DELETE", f"/predictions/{known.id}", id=known.id)

    def _record(self) -> None:
        if known := self._one_of(lambda estimate: estimate.sale is None):
            known.sale = 100_000.0 + next(self._all.sales)
            self._send_sale(known)

    def _record_again(self) -> None:
        if known := self._one_of(lambda estimate: estimate.sale is not None):
            self._send_sale(known)

    def _sale(self) -> None:
        if known := self._one_of(lambda estimate: estimate.sale is not None):
            self._ask(Action.SALE, "GET", f"/predictions/{known.id}/sale", id=known.id)

    def _one_of(self, fits: Any) -> _Estimate | None:
        fitting = [estimate for estimate in self._estimates if fits(estimate)]
        return self._random.choice(fitting) if fitting else None

    def _estimate(self, house: int, key: str | None) -> Operation | None:
        headers = {"Idempotency-Key": key} if key else {}
        document = {"size": house, "bedrooms": 3, "age": 10}
        done = self._ask(Action.ESTIMATE, "POST", "/predict", document, headers, house=house, key=key)
        if done and done.status == 200 and all(known.id != done.answer["id"] for known in self._estimates):
            may_be_spooled = self._all.outages.overlap(done.began, done.ended)
            estimate = _Estimate(done.answer["id"], done.service, house, key, may_be_spooled)
            self._estimates = [*self._estimates[-_MAX_KNOWN_ESTIMATES:], estimate]
        return done

    def _send_sale(self, known: _Estimate) -> None:
        key = f"sale-{known.sale:.0f}"
        document = {"price": known.sale, "date": time.strftime("%Y-%m-%d", time.gmtime())}
        path = f"/predictions/{known.id}/sale"
        self._ask(
            Action.RECORD, "POST", path, document, {"Idempotency-Key": key}, id=known.id, key=key, price=known.sale
        )

    def _ask(
        self, action: Action, method: str, path: str, document: object = None, headers: Any = None, **more: Any
    ) -> Operation | None:
        """Send a request. Returns the operation, or None if no service is ready."""
        ready = self._all.balancer.ready()
        names = [service.name for service, _ in ready]
        for gone in [name for name in self._connections if name not in names]:
            self._connections.pop(gone).close()
        if not ready:
            pause(0.03)
            return None
        service, until = self._random.choice(ready)
        connection = self._connection(service)
        began, sent, status, answer = time.monotonic(), None, None, None
        try:
            begin(connection, method, path, document, headers)
            sent = time.monotonic()
            status, answer = finish(connection)
        except (OSError, http.client.HTTPException, ValueError):
            sent = sent or time.monotonic()
            connection.close()
        done = self._all.noted(action, service, began, status, answer, more)
        if status is None and sent > until:
            self._all.unavoidable.append(done)
        return done

    def _connection(self, service: Service) -> http.client.HTTPConnection:
        """Return an idle connection that doesn't seem to be closed, or a new one."""
        connection = self._connections.get(service.name)
        if connection is None or connection.sock is None or select.select([connection.sock], [], [], 0)[0]:
            if connection is not None:
                connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LONG)
            self._connections[service.name] = connection
        return connection
