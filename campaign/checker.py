"""Decides from a history and from what is stored in the end whether the promises about records were kept.

Time is compared only where the order is certain: an operation comes after another if it began after the other ended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from uuid import UUID

from attrs import frozen

from campaign.history import Action, Operation, Stored


class Rule(StrEnum):
    """What must not happen."""

    LOST = "an acknowledged estimate is not stored"
    CHANGED = "what is stored or read differs from the answer"
    TWICE = "one request is stored more than once"
    UNASKED = "nobody asked for what is stored"
    DENIED = "a request that was refused for its own sake is stored"
    LATE = "an acknowledged estimate could not be read"
    ORDER = "estimates are listed in another order than they were made"
    ERASED = "an erased estimate was read, or is stored"
    UNEQUAL = "one idempotency key has different answers"


@frozen
class Violation:
    """A rule that was broken, and by which operation or record."""

    rule: StrEnum
    by: object


def check(history: Sequence[Operation], stored: Sequence[Stored], *, steady_clock: bool = True) -> list[Violation]:
    """Every violation, rule by rule. With `steady_clock` false, ids may go back in time, as the clock did."""
    return [Violation(rule, by) for rule, by in _violations(_Facts.of(history, stored), steady_clock)]


@frozen
class _Facts:
    """The history, sorted by what the rules ask for."""

    history: Sequence[Operation]
    stored: Sequence[Stored]
    acknowledged: dict[str, Operation]
    """The first answer that named each id."""
    statuses: dict[int, set[int | None]]
    """By house."""
    answers: dict[str, list[Operation]]
    """By idempotency key."""
    tried_to_erase: dict[str, float]
    """When the first attempt began, by id. What it came to is not known to everybody at once."""
    erased: dict[str, float]
    """When the first confirmation came, by id."""

    @classmethod
    def of(cls, history: Sequence[Operation], stored: Sequence[Stored]) -> _Facts:
        facts = cls(history, stored, {}, defaultdict(set), defaultdict(list), {}, {})
        for each in sorted(history, key=lambda operation: operation.ended):
            if each.action is Action.ESTIMATE:
                assert each.house is not None
                facts.statuses[each.house].add(each.status)
                if each.status == 200:
                    facts.acknowledged.setdefault(each.answer["id"], each)
                    if each.key:
                        facts.answers[each.key].append(each)
            elif each.action is Action.ERASE:
                assert each.id
                began = facts.tried_to_erase.get(each.id, each.began)
                facts.tried_to_erase[each.id] = min(began, each.began)
                if each.status == 204:
                    facts.erased.setdefault(each.id, each.ended)
        return facts


def _violations(facts: _Facts, steady_clock: bool) -> Iterator[tuple[Rule, object]]:
    yield from _of_records(facts)
    yield from _of_reads(facts)
    yield from _of_pages(facts)
    for answers in facts.answers.values():
        yield from ((Rule.UNEQUAL, each) for each in answers if each.answer != answers[0].answer)
    if steady_clock:
        yield from _of_order(facts)


def _of_records(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    by_id = {each.id: each for each in facts.stored}
    for id_, operation in facts.acknowledged.items():
        if id_ in by_id:
            if not _is_same(operation, by_id[id_]):
                yield Rule.CHANGED, (operation, by_id[id_])
        elif id_ not in facts.tried_to_erase:
            yield Rule.LOST, operation
    often = Counter(each.house for each in facts.stored)
    ids = Counter(each.id for each in facts.stored)
    for each in facts.stored:
        statuses = facts.statuses.get(each.house)
        if statuses is None:
            yield Rule.UNASKED, each
        elif often[each.house] > 1 or ids[each.id] > 1:
            yield Rule.TWICE, each
        elif all(status is not None and 400 <= status < 500 for status in statuses):
            yield Rule.DENIED, each
        elif 200 in statuses and each.id not in facts.acknowledged:
            yield Rule.TWICE, each  # the acknowledged record is lost as well, or was erased
        if each.id in facts.erased:
            yield Rule.ERASED, each


def _of_reads(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    for read in facts.history:
        if read.action is Action.FIND:
            assert read.id
            known = facts.acknowledged.get(read.id)
            if read.status == 404 and known and _has_to_show(facts, read, read.id):
                yield Rule.LATE, read
            elif read.status == 200:
                if facts.erased.get(read.id, read.began) < read.began:
                    yield Rule.ERASED, read
                if known and known.answer["prediction"] != read.answer["prediction"]:
                    yield Rule.CHANGED, read


def _of_pages(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    """A page holds every estimate that is newer than its last one, newest first."""
    in_order = sorted(facts.acknowledged)
    for read in facts.history:
        if read.action is not Action.LIST or read.status != 200 or read.answer is None:
            continue
        page = set(read.answer)
        if any(facts.erased.get(id_, read.began) < read.began for id_ in page):
            yield Rule.ERASED, read
        if any(older >= newer for newer, older in pairwise(read.answer)):
            yield Rule.ORDER, read
        for id_ in in_order[bisect_left(in_order, min(page, default="")) :]:
            operation = facts.acknowledged[id_]
            if operation.began > read.ended:
                break  # made later, as all that follow
            if id_ not in page and _has_to_show(facts, read, id_):
                yield Rule.LATE, read
                break


def _has_to_show(facts: _Facts, read: Operation, id_: str) -> bool:
    """Whether the service had acknowledged the estimate before the read, and nobody tried to erase it until its end."""
    made = facts.acknowledged[id_]
    is_erased = facts.tried_to_erase.get(id_, read.ended) < read.ended
    return made.service == read.service and made.ended < read.began and not is_erased


def _of_order(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    """Ids begin with the millisecond in which they were made, so whoever asks later gets a later one."""
    in_order = sorted(facts.acknowledged.items(), key=lambda each: each[1].ended)
    ends = [operation.ended for _, operation in in_order]
    latest, so_far = 0, []
    for id_, _ in in_order:
        latest = max(latest, UUID(id_).int >> 80)
        so_far.append(latest)
    for id_, operation in in_order:
        before = bisect_left(ends, operation.began)
        # with a key the answer may be older than the question
        if operation.key is None and before and so_far[before - 1] > UUID(id_).int >> 80:
            yield Rule.ORDER, operation


def _is_same(operation: Operation, stored: Stored) -> bool:
    answer = operation.answer
    return (operation.house, answer["prediction"], answer["model_version"]) == (
        stored.house,
        stored.price,
        stored.model_version,
    )
