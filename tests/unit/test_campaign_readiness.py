from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from campaign.readiness import Answer, Says, Watch
from campaign.services import Service
from campaign.trials import Broken

REFUSED = Says(behind="password")
NO_MODEL = Says(503, "password", "password")


def answer(status: int | None = 200, model: Any = None, *, began: float = 0.0, **predictions: Any) -> Answer:
    checks = {"model": model or {"ok": True}, "predictions": {"ok": True, **predictions}}
    return Answer("a service", began, began + 1, status, {"checks": checks} if status else None)


def behind(reason: str | None, began: float = 0.0) -> Answer:
    return answer(began=began, behind={"waiting": 1, "reason": reason})


@pytest.mark.parametrize(
    ("says", "actual"),
    [
        (Says(), answer()),
        (Says(), behind("whatever")),
        (REFUSED, behind("wrong password")),
        (NO_MODEL, answer(503, {"ok": False, "reason": "password"}, behind={"reason": "password"})),
        (Says(behind="password", workers=2), behind(None)),
    ],
)
def test_expected_readiness_has_no_complaint(says: Says, actual: Answer) -> None:
    assert says.complaint(actual) is None


@pytest.mark.parametrize(
    ("says", "actual", "complaint"),
    [
        (Says(), answer(None), "status None"),
        (Says(), answer(503), "status 503 instead of 200"),
        (Says(), answer(200, {"ok": False, "reason": "no model"}), "model failed"),
        (REFUSED, answer(), "missing"),
        (REFUSED, behind("the disk is full"), "doesn't match 'password'"),
        (REFUSED, behind(None), "doesn't match 'password'"),
        (NO_MODEL, answer(503, behind={"reason": "password"}), "`model` doesn't match"),
    ],
)
def test_unexpected_readiness_is_a_complaint(says: Says, actual: Answer, complaint: str) -> None:
    assert complaint in str(says.complaint(actual))


def watched(*answers: Answer) -> tuple[Watch, Service]:
    watch = Watch(StringIO())
    watch._answers.extend(answers)
    return watch, Service(Path("a service"), 1)


def test_watch_checks_answers_between_two_times() -> None:
    watch, service = watched(answer(503, began=0.5), answer(began=1), answer(began=2), answer(503, began=2.5))
    assert watch.check(service, Says(), 1, 3) == 2
    with pytest.raises(Broken, match="1 of 3"):
        watch.check(service, Says(), 0.5, 3)


def test_watch_requires_reason_from_one_worker() -> None:
    says = Says(behind="password", workers=2)
    silent = [behind(None)] * 8
    watch, service = watched(*silent, behind("password"))
    assert watch.check(service, says, 0, 1) == 9
    watch, service = watched(*silent)
    with pytest.raises(Broken, match="never gives the reason"):
        watch.check(service, says, 0, 1)


def test_service_catches_up_after_consecutive_answers() -> None:
    watch, service = watched(answer(began=1), behind("away", 2), answer(began=3), answer(began=4))
    assert watch.wait_until_caught_up(service, since=1).began == 1
    assert watch.wait_until_caught_up(service, since=0, in_a_row=2).began == 3


def test_watch_fails_if_service_stays_behind() -> None:
    watch, service = watched(behind("away", -100))
    with pytest.raises(Broken, match=r"behind 15.0 s after the fault"):
        watch.wait_until_caught_up(service, since=-100)
