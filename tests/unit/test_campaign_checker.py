"""The campaign's checker accepts correct histories and reports every kind of fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from campaign.checker import Rule, check
from campaign.history import Action, Operation, Stored
from tests.unit.simulated_services import CLIENTS, Simulation, Step, answer_of, id_at, run_simulation

pytestmark = pytest.mark.slow

_STEP = st.tuples(st.integers(0, CLIENTS - 1), st.integers(0, 20), st.integers(0, 40))
FEW_STEPS = st.lists(_STEP, max_size=100)


def random_steps(seed: int) -> list[Step]:
    """Return 150 random steps from a seed, as Hypothesis draws long lists slowly."""
    random = Random(seed)
    return [(random.randrange(CLIENTS), random.randrange(21), random.randrange(41)) for _ in range(150)]


MANY_STEPS = st.integers(0, 2**32).map(random_steps)


@given(FEW_STEPS | MANY_STEPS)
@settings(max_examples=200)
def test_correct_history_breaks_no_rule(steps: Sequence[Step]) -> None:
    simulation = run_simulation(steps)
    assert check(simulation.history, simulation.stored) == []


@define
class Run:
    """A correct history for a test to corrupt."""

    simulation: Simulation
    choose: Callable[[Sequence[Any]], Any]
    history: list[Operation]
    stored: list[Stored]

    def some(self, choices: Sequence[Any]) -> Any:
        assume(choices)
        return self.choose(choices)

    def record(self) -> Stored:
        """Choose the record of an acknowledged estimate that no request tried to remove."""
        named = {each.id for each in self.history if each.action is Action.ERASE}
        pruned = max((each.id or "" for each in self.history if each.action is Action.PRUNE), default="")
        acknowledged = {each.answer["id"] for each in self.answered()}
        record: Stored = self.some(
            [each for each in self.stored if each.id in acknowledged - named and each.id >= pruned]
        )
        return record

    def answered(self) -> list[Operation]:
        return [each for each in self.history if each.action is Action.ESTIMATE and each.status == 200]

    def answer(self, record: Stored) -> Operation:
        return next(each for each in self.answered() if each.answer["id"] == record.id)

    def erased(self) -> tuple[Operation, Operation]:
        """Choose an acknowledged estimate with its confirmed erasure."""
        made = {each.answer["id"]: each for each in self.answered()}
        confirmed = [
            each for each in self.history if each.action is Action.ERASE and each.status == 204 and each.id in made
        ]
        erasure: Operation = self.some(confirmed)
        assert erasure.id
        return made[erasure.id], erasure

    def pruned(self) -> Operation:
        """Choose an acknowledged estimate that was pruned."""
        below = max(
            (each.id or "" for each in self.history if each.action is Action.PRUNE and each.status == 204), default=""
        )
        estimate: Operation = self.some([each for each in self.answered() if each.answer["id"] < below])
        return estimate

    def later(self, action: Action, service: str, status: int | None, answer: Any = None, **more: Any) -> Operation:
        """Append an operation after all others."""
        began = max(each.ended for each in self.history) + 1
        done = Operation(action, service, began, began + 0.1, status, answer=answer, **more)
        self.history.append(done)
        return done

    def replace(self, old: Operation, **changes: Any) -> None:
        self.history[self.history.index(old)] = evolve(old, **changes)

    def store(self, record: Stored, **changes: Any) -> None:
        self.stored.append(evolve(record, **changes))

    def new_id(self) -> str:
        return id_at(max(each.ended for each in self.history) + 2, 10**9)


def lose_record(run: Run) -> None:
    run.stored.remove(run.record())


def give_one_id_to_two_estimates(run: Run) -> None:
    one, other = run.record(), run.record()
    assume(one != other)
    run.stored.remove(other)
    run.replace(run.answer(other), answer={**run.answer(other).answer, "id": one.id})


def store_another_price(run: Run) -> None:
    record = run.record()
    run.stored[run.stored.index(record)] = evolve(record, price=record.price + 1)


def store_another_version(run: Run) -> None:
    record = run.record()
    run.stored[run.stored.index(record)] = evolve(record, model_version="another")


def answer_for_another_house(run: Run) -> None:
    answer = run.some(run.answered())
    run.replace(answer, answer={**answer.answer, "size": 10**6})


def read_another_price(run: Run) -> None:
    record = run.record()
    run.later(Action.FIND, "a", 200, {**answer_of(record), "prediction": 1.0}, id=record.id)


def read_another_id(run: Run) -> None:
    record = run.record()
    run.later(Action.FIND, "a", 200, {**answer_of(record), "id": run.new_id()}, id=record.id)


def store_twice(run: Run) -> None:
    run.store(run.record(), id=run.new_id())


def store_unanswered_estimate_twice(run: Run) -> None:
    answered = {each.house for each in run.answered()}
    pruned = max((each.id or "" for each in run.history if each.action is Action.PRUNE), default="")
    record = run.some([each for each in run.stored if each.house not in answered and each.id >= pruned])
    run.store(record, id=run.new_id())


def store_erased_estimate_under_new_id(run: Run) -> None:
    made, _ = run.erased()
    assume(not any(each.action is Action.PRUNE for each in run.history))
    run.store(Stored(run.new_id(), made.house or 0, made.answer["prediction"], "a version"))


def store_unrequested_estimate(run: Run) -> None:
    run.store(run.some(run.stored), id=run.new_id(), house=10**6)


def store_rejected_estimate(run: Run) -> None:
    run.later(Action.ESTIMATE, "a", 422, house=10**6)
    run.store(run.some(run.stored), id=run.new_id(), house=10**6)


def miss_record(run: Run) -> None:
    record = run.record()
    run.later(Action.FIND, run.answer(record).service, 404, id=record.id)


def miss_record_within_page(run: Run) -> None:
    record = run.record()
    newest = sorted((each.id for each in run.stored if each != record), reverse=True)
    below = [id_ for id_ in newest if id_ < record.id]
    assume(below)
    page = newest[: newest.index(below[0]) + 1]
    run.later(Action.LIST, run.answer(record).service, 200, page, limit=len(page))


def miss_record_at_end_of_page(run: Run) -> None:
    record = run.record()
    page = sorted((each.id for each in run.stored if each.id > record.id), reverse=True)
    run.later(Action.LIST, run.answer(record).service, 200, page, limit=1000)


def list_oldest_first(run: Run) -> None:
    assume(len(run.stored) > 1)
    run.later(Action.LIST, "a", 200, sorted(each.id for each in run.stored), limit=1000)


def list_id_twice(run: Run) -> None:
    id_ = run.record().id
    run.later(Action.LIST, "a", 200, [id_, id_], limit=2)


def return_older_id(run: Run) -> None:
    assume(run.answered())
    record = Stored(id_at(-1, 1), 10**6, 1.0, "a version")
    run.later(Action.ESTIMATE, "a", 200, answer_of(record), house=record.house)
    run.store(record)


def store_erased_estimate(run: Run) -> None:
    made, _ = run.erased()
    run.store(Stored(made.answer["id"], made.house or 0, made.answer["prediction"], "a version"))


def find_erased_estimate(run: Run) -> None:
    made, _ = run.erased()
    run.later(Action.FIND, run.some(["a", "b"]), 200, made.answer, id=made.answer["id"])


def find_pruned_estimate(run: Run) -> None:
    made = run.pruned()
    run.later(Action.FIND, run.some(["a", "b"]), 200, made.answer, id=made.answer["id"])


def list_erased_estimate(run: Run) -> None:
    made, _ = run.erased()
    run.later(Action.LIST, run.some(["a", "b"]), 200, [made.answer["id"]], limit=1, partial=run.some([True, False]))


def show_own_erasure_during_outage(run: Run) -> None:
    made, erasure = run.erased()
    read = run.later(Action.FIND, erasure.service, 200, made.answer, id=made.answer["id"])
    run.history.append(Operation(Action.CUT_OFF, erasure.service, read.began - 0.1, read.ended + 0.1, None))


def show_erasure_after_outage(run: Run) -> None:
    made, erasure = run.erased()
    other = "b" if erasure.service == "a" else "a"
    run.history.append(Operation(Action.CUT_OFF, other, erasure.began, run.later(Action.LIST, "a", 503).ended, None))
    run.later(Action.FIND, other, 200, made.answer, id=made.answer["id"])


def answer_key_with_erased_estimate(run: Run) -> None:
    made, _ = run.erased()
    run.later(Action.ESTIMATE, made.service, 200, made.answer, house=made.house, key="some key")


def answer_key_with_new_id(run: Run) -> None:
    assume(not any(each.action is Action.PRUNE for each in run.history))
    made = run.some([each for each in run.answered() if each.key])
    run.later(Action.ESTIMATE, made.service, 200, {**made.answer, "id": run.new_id()}, house=made.house, key=made.key)


def answer_key_with_another_price(run: Run) -> None:
    assume(not any(each.action is Action.PRUNE for each in run.history))
    made = run.some([each for each in run.answered() if each.key])
    run.later(Action.ESTIMATE, made.service, 200, {**made.answer, "prediction": 1.0}, house=made.house, key=made.key)


def fail_request(run: Run) -> None:
    assume(run.history)
    run.later(run.some(list(Action)[:4]), "a", run.some([500, 502, 504]), house=10**6, id=run.new_id())


FAULTS: Sequence[tuple[Rule, Callable[[Run], None]]] = [
    (Rule.LOST, lose_record),
    (Rule.CHANGED, give_one_id_to_two_estimates),
    (Rule.CHANGED, store_another_price),
    (Rule.CHANGED, store_another_version),
    (Rule.CHANGED, answer_for_another_house),
    (Rule.CHANGED, read_another_price),
    (Rule.CHANGED, read_another_id),
    (Rule.TWICE, store_twice),
    (Rule.TWICE, store_unanswered_estimate_twice),
    (Rule.TWICE, store_erased_estimate_under_new_id),
    (Rule.UNASKED, store_unrequested_estimate),
    (Rule.DENIED, store_rejected_estimate),
    (Rule.LATE, miss_record),
    (Rule.LATE, miss_record_within_page),
    (Rule.LATE, miss_record_at_end_of_page),
    (Rule.ORDER, list_oldest_first),
    (Rule.ORDER, list_id_twice),
    (Rule.ORDER, return_older_id),
    (Rule.ERASED, store_erased_estimate),
    (Rule.ERASED, find_erased_estimate),
    (Rule.ERASED, find_pruned_estimate),
    (Rule.ERASED, list_erased_estimate),
    (Rule.ERASED, show_own_erasure_during_outage),
    (Rule.ERASED, show_erasure_after_outage),
    (Rule.ERASED, answer_key_with_erased_estimate),
    (Rule.UNEQUAL, answer_key_with_new_id),
    (Rule.UNEQUAL, answer_key_with_another_price),
    (Rule.FAILED, fail_request),
]


@pytest.mark.parametrize(("rule", "spoil"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_fault_is_reported_by_its_rule(rule: Rule, spoil: Callable[[Run], None]) -> None:
    @given(MANY_STEPS, st.data())
    @settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])
    def check_rule(steps: Sequence[Step], data: st.DataObject) -> None:
        simulation = run_simulation(steps)
        run = Run(
            simulation,
            lambda choices: data.draw(st.sampled_from(choices)),
            list(simulation.history),
            list(simulation.stored),
        )
        spoil(run)
        assert rule in {each.rule for each in check(run.history, run.stored)}

    check_rule()


def test_every_rule_has_a_fault() -> None:
    assert {rule for rule, _ in FAULTS} == set(Rule)


def test_erasure_by_another_service_is_unknown_during_outage() -> None:
    made = Operation(Action.ESTIMATE, "a", 1, 2, 200, house=1, answer=answer_of(Stored(id_at(1, 1), 1, 100, "1")))
    id_ = made.answer["id"]
    history = [
        made,
        Operation(Action.CUT_OFF, "a", 2, 9, None),
        Operation(Action.ERASE, "b", 3, 4, 204, id=id_),
        Operation(Action.FIND, "a", 5, 6, 200, id=id_, answer=made.answer),
    ]
    assert check(history, []) == []
    assert check([each for each in history if each.action is not Action.CUT_OFF], []) != []


def test_unsteady_clock_allows_decreasing_ids() -> None:
    stored = [Stored(id_at(10 - time, 1), time, 100.0, "1") for time in range(1, 4)]
    history = [
        Operation(Action.ESTIMATE, "a", each.house, each.house + 0.5, 200, house=each.house, answer=answer_of(each))
        for each in stored
    ]
    assert {each.rule for each in check(history, stored)} == {Rule.ORDER}
    assert check(history, stored, steady_clock=False) == []


def test_page_check_sees_past_later_answered_estimate() -> None:
    first, keyed, missed = (Stored(id_at(number, 1), number, 100.0, "1") for number in range(1, 4))
    history = [
        Operation(Action.ESTIMATE, "a", 1, 1.5, 200, house=1, answer=answer_of(first)),
        Operation(Action.ESTIMATE, "a", 2, 2.5, None, house=2, key="key"),
        Operation(Action.ESTIMATE, "a", 3, 3.5, 200, house=3, answer=answer_of(missed)),
        Operation(Action.LIST, "a", 4, 4.5, 200, answer=[first.id], limit=1),
        Operation(Action.ESTIMATE, "a", 5, 5.5, 200, house=2, key="key", answer=answer_of(keyed)),
    ]
    assert [each.rule for each in check(history, [first, keyed, missed])] == [Rule.LATE]


def test_pruned_key_can_be_reused() -> None:
    first, second = Stored(id_at(1, 1), 1, 100.0, "1"), Stored(id_at(5, 2), 1, 100.0, "1")
    history = [
        Operation(Action.ESTIMATE, "a", 1, 2, 200, house=1, key="key", answer=answer_of(first)),
        Operation(Action.PRUNE, "pruner", 3, 4, 204, id=id_at(2, 0)),
        Operation(Action.ESTIMATE, "a", 5, 6, 200, house=1, key="key", answer=answer_of(second)),
    ]
    assert check(history, [second]) == []
    assert {each.rule for each in check([history[0], history[2]], [second])} == {Rule.LOST, Rule.UNEQUAL}


def test_key_may_have_two_estimates_after_interrupted_prune() -> None:
    first, second = Stored(id_at(1, 1), 1, 100.0, "1"), Stored(id_at(5, 2), 1, 100.0, "1")
    history = [
        Operation(Action.ESTIMATE, "a", 1, 2, None, house=1, key="key"),
        Operation(Action.PRUNE, "pruner", 3, 4, None, id=id_at(2, 0)),
        Operation(Action.ESTIMATE, "a", 5, 6, 200, house=1, key="key", answer=answer_of(second)),
    ]
    assert check(history, [first, second]) == []
    assert {each.rule for each in check([history[0], history[2]], [first, second])} == {Rule.TWICE}


def test_rejected_erasure_does_not_excuse_lost_estimate() -> None:
    made = Operation(Action.ESTIMATE, "a", 1, 2, 200, house=1, answer=answer_of(Stored(id_at(1, 1), 1, 100.0, "1")))
    refused = Operation(Action.ERASE, "a", 3, 4, 401, id=made.answer["id"])
    assert [each.rule for each in check([made, refused], [])] == [Rule.LOST]
    assert check([made, Operation(Action.ERASE, "a", 3, 4, None, id=made.answer["id"])], []) == []
