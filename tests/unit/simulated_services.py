"""Step-by-step simulation of two correct services with one database: the checker must find no violation.

A step advances one client by one phase of its request, kills a service, loses a response, or starts or ends a database
outage. Each interleaving is thus a list of steps, which Hypothesis can draw and shrink.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from attrs import define, field

from campaign.history import Action, Operation, Stored

Step = tuple[int, int, int]
"""Client, event, and a choice among alternatives."""

CLIENTS = 4
_EPOCH = 1_700_000_000_000  # milliseconds
_UNAVAILABLE = (503, None)

Reply = tuple[int | None, Any]
Phases = Generator[None, None, Reply]


def id_at(time: float, number: int) -> str:
    """Return the id with number `number` made at `time`, in seconds."""
    millisecond = f"{_EPOCH + round(time * 1000):012x}"
    return f"{millisecond[:8]}-{millisecond[8:]}-7000-8000-{number:012x}"


def answer_of(record: Stored) -> dict[str, Any]:
    """Return the part of a response that clients record."""
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
    """Pending records by id; None while the database is reachable."""
    cut_since: float = 0.0
    erased: set[str] = field(factory=set)
    """Ids whose erasure this service confirmed, and therefore knows during an outage, too."""


@define
class _Request:
    action: Action
    service: _Service
    began: float
    phases: Phases
    more: dict[str, Any]


@define
class Simulation:
    """Simulated campaign. Call `step` repeatedly, then `finish`, then read `history` and `stored`."""

    history: list[Operation] = field(factory=list)
    time: float = 0.0
    _database: dict[str, Stored] = field(factory=dict)
    _erased: set[str] = field(factory=set)
    _watermark: str = ""
    _keys: dict[str, str] = field(factory=dict)
    _services: list[_Service] = field(factory=lambda: [_Service("a"), _Service("b")])
    _requests: dict[int, _Request] = field(factory=dict)
    _pending: dict[int, tuple[int, str]] = field(factory=dict)
    """House and key of the request that each client must repeat."""
    _made: list[str] = field(factory=list)
    """Ids of acknowledged estimates."""
    _keyed: list[tuple[int, str]] = field(factory=list)
    _number: int = 0

    @property
    def stored(self) -> list[Stored]:
        return sorted(self._database.values(), key=lambda record: record.id)

    def step(self, step: Step) -> None:
        """Apply one step, a millisecond after the previous one."""
        client, event, choice = step
        self.time += 0.001
        service = self._services[choice % 2]
        if event == 18:  # the service is killed
            for other in [each for each, request in self._requests.items() if request.service is service]:
                self._end(other, (None, None))
        elif event == 19:
            self._cut_off(service)
        elif event == 20 and client in self._requests:  # its connection is lost
            self._end(client, (None, None))
        elif client in self._requests:
            self._advance(client)
        else:
            self._requests[client] = self._request(client, event, choice, service)

    def finish(self) -> None:
        """End all requests and drain the spools."""
        for client in [*self._requests]:
            self._end(client, (None, None))
        for service in self._services:
            if service.spool is not None:
                self._cut_off(service)
        self.time += 0.001

    def _advance(self, client: int) -> None:
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

    def _request(self, client: int, event: int, choice: int, service: _Service) -> _Request:
        some_id = self._made[-1 - choice % len(self._made)] if self._made else None
        action, more = Action.ESTIMATE, {}
        phases: Phases
        if client in self._pending or (event == 3 and self._keyed):
            house, key = self._pending.get(client) or self._keyed[choice % len(self._keyed)]
            phases, more = self._keyed_estimate(service, house, key), {"house": house, "key": key}
        elif event == 4 and some_id:
            action, phases, more = Action.ERASE, self._erase(service, some_id), {"id": some_id}
        elif event == 5 and some_id:
            action, phases, more = Action.PRUNE, self._prune(some_id), {"id": some_id}
        elif event in (6, 7) and some_id:
            action, phases, more = Action.FIND, self._find(service, some_id), {"id": some_id}
        elif event in (8, 9):
            limit = 1 + choice % 5
            action, phases, more = Action.LIST, self._list(service, limit), {"limit": limit}
        else:
            self._number += 1
            house, key = self._number, f"key-{self._number}"
            if event == 10:
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
        stored = self._database.get(record.id)
        yield
        return (200, answer_of(stored)) if stored else (410, None)

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
        stored = (self._database if service.spool is None else service.spool).get(id_)
        yield
        return (200, answer_of(stored)) if stored else (404, None)

    def _list(self, service: _Service, limit: int) -> Phases:
        yield
        is_partial = service.spool is not None
        page = sorted(self._database if service.spool is None else service.spool, reverse=True)[:limit]
        yield
        # a page must be marked as partial exactly if it was read during an outage
        return (200, page) if is_partial == (service.spool is not None) else (None, None)

    def _cut_off(self, service: _Service) -> None:
        """Start or end the database outage of a service."""
        if service.spool is None:
            service.spool, service.cut_since = {}, self.time
            return
        pending, service.spool = service.spool, None
        for record in pending.values():
            self._append(service, record)
        self.history.append(Operation(Action.CUT_OFF, service.name, service.cut_since, self.time, None))


def run_simulation(steps: Sequence[Step]) -> Simulation:
    """Run `steps` and return the finished simulation."""
    simulation = Simulation()
    for step in steps:
        simulation.step(step)
    simulation.finish()
    return simulation
