"""Clients behind a load balancer, for which no request may fail while services are replaced one after the other.

The balancer is an ordinary one. It asks each service for `/health/ready` ten times a second, sends requests only to
services whose last answer was 200, keeps connections open, looks whether an idle one was closed before it uses it
again, and never sends a request a second time.
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
"""Seconds for which a service says that it is not ready, before it stops."""
_POLL = 0.1
"""Seconds between two questions."""
_MEMORY = 300
"""How many of its last estimates a client knows."""


@define
class Outages:
    """When the database was away, until all services had caught up."""

    _spans: list[tuple[float, float]] = field(factory=list, init=False)

    @contextmanager
    def one(self) -> Iterator[None]:
        """An outage, until the block ends."""
        began = time.monotonic()
        self._spans.append((began, float("inf")))
        yield
        self._spans[-1] = (began, time.monotonic())

    def overlap(self, began: float, ended: float) -> bool:
        """Whether there was one between two moments, on the monotonic clock."""
        return any(first < ended and began < last for first, last in self._spans)


@frozen
class _Poll:
    began: float
    status: int | None


@define
class Balancer:
    """Knows which services are ready."""

    services: Sequence[Service]
    none_ready: list[str] = field(factory=list, init=False)
    """Each time that a request found all services unready, if there are several: what they had answered."""
    _polls: dict[str, _Poll] = field(factory=dict, init=False)

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Ask all services again and again, until the block ends."""
        enough = Event()
        for service in self.services:
            self._poll(service)
        with working(enough, *(partial(self._poll_until, enough, service) for service in self.services)):
            yield

    def ready(self) -> list[tuple[Service, float]]:
        """The services to send requests to, and until when each request has to be sent, on the monotonic clock."""
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
        """Return when requests may be sent to a service."""
        until = time.monotonic() + LONG
        while service not in [ready for ready, _ in self.ready()]:
            assert time.monotonic() < until, f"{service.name} is ready, and the balancer does not notice"
            pause(_POLL)

    def _poll_until(self, enough: Event, service: Service) -> None:
        while not enough.wait(_POLL):
            self._poll(service)

    def _poll(self, service: Service) -> None:
        began = time.monotonic()
        self._polls[service.name] = _Poll(began, service.readiness()[0])


@frozen
class Shares:
    """How much of what clients ask for: shares of all requests. The rest are estimates without a key."""

    keyed: float = 0.15
    repeat: float = 0.06
    """An idempotency key that was answered before, perhaps by another release."""
    find: float = 0.15
    list: float = 0.01
    erase: float = 0.02
    record: float = 0.06
    record_again: float = 0.02
    sale: float = 0.04


@define
class BalancedClients(Clients):
    """Clients that send each request to one of the services that are ready."""

    balancer: Balancer = field(kw_only=True)
    outages: Outages = field(factory=Outages, kw_only=True)
    shares: Shares = field(factory=Shares, kw_only=True)
    unavoidable: list[Operation] = field(factory=list, init=False)
    """Requests without an answer that no balancer could have saved."""
    sales: Iterator[int] = field(factory=count, kw_only=True)
    """Numbers that no sale has yet."""

    @property
    def operations(self) -> list[Operation]:
        """What these clients asked for, in a history that others may share."""
        names = {service.name for service in self.services}
        return [each for each in self.history.operations if each.service in names]

    def _work(self, number: int, random: Random) -> None:  # noqa: ARG002 (no client has a service of its own)
        client = _Client(self, random)
        while not self._enough.is_set():
            client.ask()
        client.close()


@define
class _Made:
    """An estimate that a client has got."""

    id: str
    service: str
    house: int
    key: str | None
    is_away: bool
    """Whether it was made during an outage: it may be in the spool of the service that made it, and nowhere else."""
    sale: float | None = None
    """The price of the sale that was sent for it."""
    is_erased: bool = False


@define
class _Client:
    _all: BalancedClients
    _random: Random
    _connections: dict[str, http.client.HTTPConnection] = field(factory=dict, init=False)
    _made: list[_Made] = field(factory=list, init=False)
    _pending: tuple[int, str] | None = field(default=None, init=False)
    """The house and the key of an estimate that was refused, or not answered."""

    def ask(self) -> None:
        """Make one request, and pause: upgrades take seconds, and need no more requests than that."""
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
        for each in self._connections.values():
            each.close()
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
        """Which version answers is certain only where the first answer was in the database by then."""
        if known := self._one_of(lambda each: each.key is not None and not each.is_away):
            self._estimate(known.house, known.key)

    def _find(self) -> None:
        if known := self._one_of(lambda _: True):
            self._ask(Action.FIND, "GET", f"/predictions/{known.id}", id=known.id)

    def _list(self) -> None:
        self._ask(Action.LIST, "GET", f"/predictions?limit={PAGE}", limit=PAGE)

    def _erase(self) -> None:
        """What may still be in a spool is left alone: its service may show it until it reaches the database again."""
        if known := self._one_of(lambda each: not each.is_away and not each.is_erased):
            known.is_erased = True
            self._ask(Action.ERASE, "DELETE", f"/predictions/{known.id}", id=known.id)

    def _record(self) -> None:
        if known := self._one_of(lambda each: each.sale is None):
            known.sale = 100_000.0 + next(self._all.sales)
            self._send_sale(known)

    def _record_again(self) -> None:
        if known := self._one_of(lambda each: each.sale is not None):
            self._send_sale(known)

    def _sale(self) -> None:
        if known := self._one_of(lambda each: each.sale is not None):
            self._ask(Action.SALE, "GET", f"/predictions/{known.id}/sale", id=known.id)

    def _one_of(self, fits: Any) -> _Made | None:
        fitting = [each for each in self._made if fits(each)]
        return self._random.choice(fitting) if fitting else None

    def _estimate(self, house: int, key: str | None) -> Operation | None:
        headers = {"Idempotency-Key": key} if key else {}
        document = {"size": house, "bedrooms": 3, "age": 10}
        done = self._ask(Action.ESTIMATE, "POST", "/predict", document, headers, house=house, key=key)
        if done and done.status == 200 and not any(each.id == done.answer["id"] for each in self._made):
            is_away = self._all.outages.overlap(done.began, done.ended)
            made = _Made(done.answer["id"], done.service, house, key, is_away)
            self._made = [*self._made[-_MEMORY:], made]
        return done

    def _send_sale(self, known: _Made) -> None:
        key = f"sale-{known.sale:.0f}"
        document = {"price": known.sale, "date": time.strftime("%Y-%m-%d", time.gmtime())}
        path = f"/predictions/{known.id}/sale"
        self._ask(
            Action.RECORD, "POST", path, document, {"Idempotency-Key": key}, id=known.id, key=key, price=known.sale
        )

    def _ask(
        self, action: Action, method: str, path: str, document: object = None, headers: Any = None, **more: Any
    ) -> Operation | None:
        """The operation as it is noted, or None where no service is ready."""
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
        """One that is open, as far as can be seen, or a new one."""
        connection = self._connections.get(service.name)
        if connection is None or connection.sock is None or select.select([connection.sock], [], [], 0)[0]:
            if connection is not None:
                connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LONG)
            self._connections[service.name] = connection
        return connection
