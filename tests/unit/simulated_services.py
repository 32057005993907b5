"""Two services before one database, simulated step by step: honest, so a checker may find nothing.

A step lets one client go on by one phase of its request, or is a kill, a lost answer, or the begin or the end of a time
without the database. So each interleaving of phases is a list of steps, which Hypothesis can choose and shorten.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from attrs import define, field

from campaign.history import Action, Operation, Stored

Step = tuple[int, int, int]
"""Which client, what it begins or what happens to it, and which one of several."""

CLIENTS = 4
_EPOCH = 1_700_000_000_000  # milliseconds
_UNAVAILABLE = (503, None)

Reply = tuple[int | None, Any]
Phases = Generator[None, None, Reply]


def id_at(time: float, number: int) -> str:
    """An id that is made at a time, in seconds."""
    millisecond = f"{_EPOCH + round(time * 1000):012x}"
    return f"{millisecond[:8]}-{millisecond[8:]}-7000-8000-{number:012x}"


def answer_of(record: Stored) -> dict[str, Any]:
    """What clients keep of an answer."""
    return {
        "id": record.id,
        "size": record.house,
        "prediction": record.price,
        "interval": None,
        "model_version": record.model_version,
    }


@define
class _Service:
    name: str
    spool: dict[str, Stored] | None = None
    """What waits in it; None while it reaches the database."""
    cut_since: float = 0.0
    erased: set[str] = field(factory=set)
    """What it has confirmed to be erased, and so knows in an outage, too."""


@define
class _Request:
    action: Action
    service: _Service
    began: float
    phases: Phases
    more: dict[str, Any]


@define
class Simulation:
    """Run it by `step`, and end it by `finish`; then `history` and `stored` are what a campaign would have."""

    history: list[Operation] = field(factory=list)
    time: float = 0.0
    _database: dict[str, Stored] = field(factory=dict)
    _erased: set[str] = field(factory=set)
    _watermark: str = ""
    _keys: dict[str, str] = field(factory=dict)
    _services: list[_Service] = field(factory=lambda: [_Service("a"), _Service("b")])
    _requests: dict[int, _Request] = field(factory=dict)
    _pending: dict[int, tuple[int, str]] = field(factory=dict)
    """By client, the house and the key that it has to ask for again."""
    _made: list[str] = field(factory=list)
    """Acknowledged ids."""
    _keyed: list[tuple[int, str]] = field(factory=list)
    _number: int = 0

    @property
    def stored(self) -> list[Stored]:
        return sorted(self._database.values(), key=lambda record: record.id)

    def step(self, step: Step) -> None:
        """Let something happen, a millisecond after what happened before."""
        client, what, which = step
        self.time += 0.001
        service = self._services[which % 2]
        if what == 18:  # the service is killed
            for other in [each for each, request in self._requests.items() if request.service is service]:
                self._end(other, (None, None))
        elif what == 19:
            self._cut_off(service)
        elif what == 20 and client in self._requests:  # its connection is lost
            self._end(client, (None, None))
        elif client in self._requests:
            self._go_on(client)
        else:
            self._requests[client] = self._request(client, what, which, service)

    def finish(self) -> None:
        """End requests, and wait until nothing waits in a spool."""
        for client in [*self._requests]:
            self._end(client, (None, None))
        for service in self._services:
            if service.spool is not None:
                self._cut_off(service)
        self.time += 0.001

    def _go_on(self, client: int) -> None:
        try:
            next(self._requests[client].phases)
        except StopIteration as end:
            self._end(client, end.value)

    def _end(self, client: int, reply: Reply) -> None:
        request = self._requests.pop(client)
        status, answer = reply
        partial = request.action is Action.LIST and status == 200 and request.service.spool is not None
        done = Operation(
            request.action,
            "pruner" if request.action is Action.PRUNE else request.service.name,
            request.began,
            self.time,
            status,
            answer=answer,
            partial=partial,
            **request.more,
        )
        self.history.append(done)
        if done.action is Action.ESTIMATE:
            assert done.house
            if status == 200:
                self._made.append(answer["id"])
            if done.key and status == 200:
                self._keyed.append((done.house, done.key))
            self._pending.pop(client, None)
            if done.key and status in (None, 503):
                self._pending[client] = done.house, done.key

    def _request(self, client: int, what: int, which: int, service: _Service) -> _Request:
        some_id = self._made[-1 - which % len(self._made)] if self._made else None
        action, more = Action.ESTIMATE, {}
        phases: Phases
        if client in self._pending or (what == 3 and self._keyed):
            house, key = self._pending.get(client) or self._keyed[which % len(self._keyed)]
            phases, more = self._keyed_estimate(service, house, key), {"house": house, "key": key}
        elif what == 4 and some_id:
            action, phases, more = Action.ERASE, self._erase(service, some_id), {"id": some_id}
        elif what == 5 and some_id:
            action, phases, more = Action.PRUNE, self._prune(some_id), {"id": some_id}
        elif what in (6, 7) and some_id:
            action, phases, more = Action.FIND, self._find(service, some_id), {"id": some_id}
        elif what in (8, 9):
            limit = 1 + which % 5
            action, phases, more = Action.LIST, self._list(service, limit), {"limit": limit}
        else:
            self._number += 1
            house, key = self._number, f"key-{self._number}"
            if what == 10:
                phases, more = self._keyed_estimate(service, house, key), {"house": house, "key": key}
            else:
                phases, more = self._estimate(service, house), {"house": house}
        return _Request(action, service, self.time, phases, more)

    def _record(self, house: int, id_: str | None = None) -> Stored:
        self._number += 1  # for ids: no two of them are equal
        return Stored(id_ or id_at(self.time, self._number), house, house * 100.0, "a version")

    def _estimate(self, service: _Service, house: int) -> Phases:
        record = self._record(house)
        yield
        self._append(service, record)
        yield
        return 200, answer_of(record)

    def _keyed_estimate(self, service: _Service, house: int, key: str) -> Phases:
        record = self._record(house)
        yield
        if service.spool is not None:
            return _UNAVAILABLE
        record = self._record(house, self._keys.setdefault(key, record.id))
        yield
        self._append(service, record)
        yield
        if service.spool is not None:
            return _UNAVAILABLE
        found = self._database.get(record.id)
        yield
        return (200, answer_of(found)) if found else (410, None)

    def _append(self, service: _Service, record: Stored) -> None:
        if service.spool is not None:
            service.spool[record.id] = record
        elif record.id not in self._erased and record.id >= self._watermark:
            self._database[record.id] = record

    def _erase(self, service: _Service, id_: str) -> Phases:
        yield
        if service.spool is not None:
            return _UNAVAILABLE
        self._erased.add(id_)
        self._database.pop(id_, None)
        service.erased.add(id_)
        yield
        return 204, None

    def _prune(self, before: str) -> Phases:
        yield
        self._keys = {key: id_ for key, id_ in self._keys.items() if id_ >= before}
        yield
        self._watermark = max(self._watermark, before)
        self._database = {id_: record for id_, record in self._database.items() if id_ >= self._watermark}
        yield
        return 204, None

    def _find(self, service: _Service, id_: str) -> Phases:
        yield
        if service.spool is not None and id_ not in service.spool:
            return _UNAVAILABLE
        found = (self._database if service.spool is None else service.spool).get(id_)
        yield
        return (200, answer_of(found)) if found else (404, None)

    def _list(self, service: _Service, limit: int) -> Phases:
        yield
        is_partial = service.spool is not None
        page = sorted(self._database if service.spool is None else service.spool, reverse=True)[:limit]
        yield
        # what a page says of itself and what it holds are of one moment
        return (200, page) if is_partial == (service.spool is not None) else (None, None)

    def _cut_off(self, service: _Service) -> None:
        """Take the database away from a service, or give it back."""
        if service.spool is None:
            service.spool, service.cut_since = {}, self.time
            return
        waiting, service.spool = service.spool, None
        for record in waiting.values():
            self._append(service, record)
        self.history.append(Operation(Action.CUT_OFF, service.name, service.cut_since, self.time, None))


def simulated(steps: Sequence[Step]) -> Simulation:
    """A simulation that came to its end."""
    simulation = Simulation()
    for step in steps:
        simulation.step(step)
    simulation.finish()
    return simulation
