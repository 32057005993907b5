"""What counts as a failed request behind the campaign's load balancer."""

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


class Said(Service):
    """A service that says what it was told to say."""

    said: int | None = 200

    def readiness(self) -> tuple[int | None, Any]:
        return self.said, None


def clients(*operations: Operation) -> BalancedClients:
    services = [Service(Path(name), 0) for name in ("left", "right")]
    history = History(io.StringIO())
    made = BalancedClients(services, history, Random(0), balancer=Balancer(services))
    for each in operations:
        history.add(each)
    return made


def asked(action: Action = Action.ESTIMATE, status: int | None = 200, **more: Any) -> Operation:
    answer = (
        {"id": "a", "prediction": 1.0, "model_version": "v"} if (action, status) == (Action.ESTIMATE, 200) else None
    )
    return Operation(
        action, "left", **{"began": 1.0, "ended": 2.0, "status": status, "answer": answer, "house": 1} | more
    )


@pytest.mark.parametrize(
    "operation",
    [
        asked(status=None),
        asked(status=404),
        asked(status=500),
        asked(status=503),
        asked(status=503, key="k"),
        asked(status=410, key="k"),
        asked(Action.LIST, 503),
        asked(Action.ERASE, 503, id="a"),
        asked(Action.RECORD, 410, id="a"),
        asked(Action.RECORD, 404, id="a"),
        asked(Action.FIND, 500, id="a"),
    ],
)
def test_answers_that_are_not_2xx_have_failed(operation: Operation) -> None:
    assert failed(clients(operation)) == [operation]


def test_requests_of_other_services_do_not_count() -> None:
    assert not failed(clients(Operation(Action.ESTIMATE, "another", 1, 2, 500, house=1)))


@pytest.mark.parametrize(
    ("operation", "is_excused"),
    [
        (asked(status=503, key="k"), True),
        (asked(Action.ERASE, 503, id="a"), True),
        (asked(Action.RECORD, 503, id="a"), True),
        (asked(status=503), False),
        (asked(status=None, key="k"), False),
        (asked(status=500, key="k"), False),
        (asked(Action.LIST, 503), False),
    ],
)
def test_outage_excuses_503_for_what_needs_the_database(operation: Operation, is_excused: bool) -> None:
    behind = clients(operation)
    with behind.outages.one():
        pass
    assert failed(behind)  # it was over before
    behind.outages._spans = [(1.5, AFTER)]
    assert bool(failed(behind)) is not is_excused


def test_erasure_excuses_410_and_nothing_else() -> None:
    estimate, erase = asked(key="k"), asked(Action.ERASE, 204, id="a")
    again, sale = asked(status=410, key="k"), asked(Action.RECORD, 410, id="a")
    assert not failed(clients(estimate, erase, again, sale))
    assert failed(clients(estimate, again, sale)) == [again, sale]
    other = asked(status=410, key="another")
    assert failed(clients(estimate, erase, other)) == [other]


def test_request_that_no_balancer_could_save_is_excused() -> None:
    lost, unavoidable = asked(status=None), asked(status=None, house=2)
    behind = clients(lost, unavoidable)
    behind.unavoidable.append(unavoidable)
    assert failed(behind) == [lost]


def test_read_that_misses_what_was_stored_long_before_is_found() -> None:
    late = asked(Action.FIND, 404, id="a", began=30.0, ended=31.0)
    assert missing_elsewhere(clients(asked(), late)) == [late]
    assert not missing_elsewhere(clients(asked(), asked(Action.FIND, 404, id="a", began=10.0, ended=11.0)))
    assert not missing_elsewhere(clients(asked(), asked(Action.ERASE, 503, id="a"), late))
    away = clients(asked(), late)
    away.outages._spans = [(1.5, 4.0)]
    assert not missing_elsewhere(away)


def test_balancer_sends_to_those_whose_last_answer_was_ready_and_is_fresh() -> None:
    left, right = Said(Path("left"), 0), Said(Path("right"), 0)
    balancer = Balancer([left, right])
    for each in (left, right):
        balancer._poll(each)
    assert [service for service, _ in balancer.ready()] == [left, right]
    right.said = 503
    balancer._poll(right)
    assert [service for service, _ in balancer.ready()] == [left]
    balancer._polls["left"] = evolve(balancer._polls["left"], began=time.monotonic() - DRAIN / 2)
    assert balancer.ready() == []
    assert not balancer.none_ready  # nobody knows
    left.said = None
    balancer._poll(left)
    assert balancer.ready() == []
    assert balancer.none_ready == ["{'left': None, 'right': 503}"]


def test_one_service_alone_may_be_unready() -> None:
    single = Said(Path("single"), 0)
    single.said = None
    balancer = Balancer([single])
    balancer._poll(single)
    assert (balancer.ready(), balancer.none_ready) == ([], [])
