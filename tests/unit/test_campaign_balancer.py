"""Failed requests behind the campaign's load balancer."""

from __future__ import annotations

import io
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import evolve

from campaign.balancer import DRAIN, BalancedClients, Balancer
from campaign.failed_requests import failed, missing_elsewhere
from campaign.history import Action, History, Operation
from campaign.services import Service

AFTER = float("inf")


class StubService(Service):
    """A service with a settable readiness status."""

    status: int | None = 200

    def readiness(self) -> tuple[int | None, Any]:
        return self.status, None


def clients(*operations: Operation) -> BalancedClients:
    services = [Service(Path(name), 0) for name in ("left", "right")]
    history = History(io.StringIO())
    made = BalancedClients(services, history, Random(0), balancer=Balancer(services))
    for each in operations:
        history.add(each)
    return made


def make_operation(action: Action = Action.ESTIMATE, status: int | None = 200, **more: Any) -> Operation:
    answer = (
        {"id": "a", "prediction": 1.0, "model_version": "v"} if (action, status) == (Action.ESTIMATE, 200) else None
    )
    return Operation(
        action, "left", **{"began": 1.0, "ended": 2.0, "status": status, "answer": answer, "house": 1} | more
    )


@pytest.mark.parametrize(
    "operation",
    [
        make_operation(status=None),
        make_operation(status=404),
        make_operation(status=500),
        make_operation(status=503),
        make_operation(status=503, key="k"),
        make_operation(status=410, key="k"),
        make_operation(Action.LIST, 503),
        make_operation(Action.ERASE, 503, id="a"),
        make_operation(Action.RECORD, 410, id="a"),
        make_operation(Action.RECORD, 404, id="a"),
        make_operation(Action.FIND, 500, id="a"),
    ],
)
def test_failed_requests_have_no_2xx_status(operation: Operation) -> None:
    assert failed(clients(operation)) == [operation]


def test_failed_requests_exclude_other_services() -> None:
    assert not failed(clients(Operation(Action.ESTIMATE, "another", 1, 2, 500, house=1)))


@pytest.mark.parametrize(
    ("operation", "is_excused"),
    [
        (make_operation(status=503, key="k"), True),
        (make_operation(Action.ERASE, 503, id="a"), True),
        (make_operation(Action.RECORD, 503, id="a"), True),
        (make_operation(status=503), False),
        (make_operation(status=None, key="k"), False),
        (make_operation(status=500, key="k"), False),
        (make_operation(Action.LIST, 503), False),
    ],
)
def test_outage_excuses_503_of_database_requests(operation: Operation, is_excused: bool) -> None:
    balanced = clients(operation)
    with balanced.outages.one():
        pass
    assert failed(balanced)  # the outage ended before the request
    balanced.outages._spans = [(1.5, AFTER)]
    assert bool(failed(balanced)) is not is_excused


def test_erasure_excuses_only_410() -> None:
    estimate, erase = make_operation(key="k"), make_operation(Action.ERASE, 204, id="a")
    repeated, sale = make_operation(status=410, key="k"), make_operation(Action.RECORD, 410, id="a")
    assert not failed(clients(estimate, erase, repeated, sale))
    assert failed(clients(estimate, repeated, sale)) == [repeated, sale]
    other = make_operation(status=410, key="another")
    assert failed(clients(estimate, erase, other)) == [other]


def test_unavoidable_failures_are_excused() -> None:
    lost, unavoidable = make_operation(status=None), make_operation(status=None, house=2)
    balanced = clients(lost, unavoidable)
    balanced.unavoidable.append(unavoidable)
    assert failed(balanced) == [lost]


def test_missing_read_of_old_prediction_is_reported() -> None:
    late = make_operation(Action.FIND, 404, id="a", began=30.0, ended=31.0)
    assert missing_elsewhere(clients(make_operation(), late)) == [late]
    assert not missing_elsewhere(
        clients(make_operation(), make_operation(Action.FIND, 404, id="a", began=10.0, ended=11.0))
    )
    assert not missing_elsewhere(clients(make_operation(), make_operation(Action.ERASE, 503, id="a"), late))
    during_outage = clients(make_operation(), late)
    during_outage.outages._spans = [(1.5, 4.0)]
    assert not missing_elsewhere(during_outage)


def test_balancer_uses_services_with_fresh_ready_poll() -> None:
    left, right = StubService(Path("left"), 0), StubService(Path("right"), 0)
    balancer = Balancer([left, right])
    for each in (left, right):
        balancer._poll(each)
    assert [service for service, _ in balancer.ready()] == [left, right]
    right.status = 503
    balancer._poll(right)
    assert [service for service, _ in balancer.ready()] == [left]
    balancer._polls["left"] = evolve(balancer._polls["left"], began=time.monotonic() - DRAIN / 2)
    assert balancer.ready() == []
    assert not balancer.none_ready  # the poll of `left` is stale
    left.status = None
    balancer._poll(left)
    assert balancer.ready() == []
    assert balancer.none_ready == ["{'left': None, 'right': 503}"]


def test_balancer_ignores_unready_single_service() -> None:
    single = StubService(Path("single"), 0)
    single.status = None
    balancer = Balancer([single])
    balancer._poll(single)
    assert (balancer.ready(), balancer.none_ready) == ([], [])
