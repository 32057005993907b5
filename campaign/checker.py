"""Checks a history and the records that are stored at the end against the promises about records.

An operation counts as later than another only if it began after the other ended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from math import inf
from uuid import UUID

from attrs import Factory, frozen

from campaign.history import Action, Operation, Stored


class Rule(StrEnum):
    """A rule that must not be broken; its value describes the violation."""

    LOST = "an acknowledged estimate is not stored"
    CHANGED = "a stored or read estimate differs from the answer"
    TWICE = "one request is stored more than once"
    UNASKED = "a stored estimate was never requested"
    DENIED = "a rejected request is stored"
    LATE = "an acknowledged estimate could not be read"
    ORDER = "estimates are not listed in the order in which they were made"
    ERASED = "an erased estimate was read, or is stored"
    UNEQUAL = "answers for one idempotency key differ"
    FAILED = "a request failed with a status other than 503"


@frozen
class Violation:
    """A broken rule, and the operation or record that broke it."""

    rule: StrEnum
    by: object


def check(history: Sequence[Operation], stored: Sequence[Stored], *, steady_clock: bool = True) -> list[Violation]:
    """Return all violations. With `steady_clock` false, ids may go back in time, because the clock did."""
    return [Violation(rule, by) for rule, by in _find_violations(_Facts.of(history, stored), steady_clock)]


def _by_key() -> dict[str, list[Operation]]:
    return defaultdict(list)


@frozen
class _Facts:
    """The history, indexed for the rules."""

    history: Sequence[Operation]
    """In the order in which the operations ended."""
    stored: Sequence[Stored]
    acknowledged: dict[str, Operation] = Factory(dict)
    """The first estimate that was answered with each id."""
    statuses: dict[int, set[int | None]] = Factory(lambda: defaultdict(set))
    """Statuses of estimates by house."""
    answers: dict[str, list[Operation]] = Factory(_by_key)
    """Successful estimates by idempotency key."""
    erasures: dict[str, list[Operation]] = Factory(_by_key)
    """Erasures by id, except rejected ones."""
    prunings: list[Operation] = Factory(list)
    cut_off: dict[str, list[Operation]] = Factory(_by_key)
    """Times without the database by service."""

    @classmethod
    def of(cls, history: Sequence[Operation], stored: Sequence[Stored]) -> _Facts:
        facts = cls(sorted(history, key=lambda operation: operation.ended), stored)
        for operation in facts.history:
            facts._add(operation)
        return facts

    def _add(self, operation: Operation) -> None:
        match operation.action:
            case Action.ESTIMATE:
                assert operation.house is not None
                self.statuses[operation.house].add(operation.status)
                if operation.status == 200:
                    self.acknowledged.setdefault(operation.answer["id"], operation)
                    if operation.key:
                        self.answers[operation.key].append(operation)
            case Action.ERASE:
                assert operation.id
                if not _is_refused(operation.status):
                    self.erasures[operation.id].append(operation)
            case Action.PRUNE:
                self.prunings.append(operation)
            case Action.CUT_OFF:
                self.cut_off[operation.service].append(operation)
            case Action.FIND | Action.LIST:
                pass

    def removals(self, id_: str) -> Iterator[Operation]:
        """Yield the operations that may have removed an estimate."""
        yield from self.erasures.get(id_, ())
        yield from self.prunings_of(id_)

    def prunings_of(self, id_: str) -> Iterator[Operation]:
        return (pruning for pruning in self.prunings if pruning.id and id_ < pruning.id)

    def may_be_gone(self, id_: str, by: float = inf) -> bool:
        """Return whether a removal of an estimate began before a time. Even if it failed, it may have had an effect."""
        return any(removal.began < by for removal in self.removals(id_))

    def must_be_gone(self, id_: str, read: Operation) -> bool:
        """Return whether a read must not show an estimate, because its removal was confirmed before.

        A service without a connection to the database need only know the removals that it has confirmed itself.
        """
        confirmed = [r for r in self.removals(id_) if r.status == 204 and r.ended < read.began]
        return any(removal.service == read.service for removal in confirmed) or (
            bool(confirmed) and not self._is_cut_off(read)
        )

    def _is_cut_off(self, read: Operation) -> bool:
        windows = self.cut_off.get(read.service, ())
        return any(window.began < read.ended and read.began < window.ended for window in windows)

    def must_show(self, id_: str, read: Operation) -> bool:
        """Return whether a read must show an estimate: its service had acknowledged it, and nobody removed it."""
        first = self.acknowledged[id_]
        return first.service == read.service and first.ended < read.began and not self.may_be_gone(id_, read.ended)


def _find_violations(facts: _Facts, steady_clock: bool) -> Iterator[tuple[Rule, object]]:
    yield from _check_answers(facts)
    yield from _check_records(facts)
    yield from _check_reads(facts)
    yield from _check_pages(facts, steady_clock)
    if steady_clock:
        yield from _check_order(facts)


def _check_answers(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    records = {record.id: record for record in facts.stored}
    for operation in facts.history:
        if operation.status is not None and operation.status >= 500 and operation.status != 503:
            yield Rule.FAILED, operation
        if operation.action is Action.ESTIMATE and operation.status == 200:
            id_ = operation.answer["id"]
            if facts.must_be_gone(id_, operation):
                yield Rule.ERASED, operation
            if operation.answer.get("size", operation.house) != operation.house:
                yield Rule.CHANGED, operation  # it is the answer to another request
            elif id_ in records:
                if not _is_same(operation, records[id_]):
                    yield Rule.CHANGED, (operation, records[id_])
            elif not facts.may_be_gone(id_):
                yield Rule.LOST, operation
    for first, *others in facts.answers.values():
        pruned = min((operation.began for operation in facts.prunings_of(first.answer["id"])), default=inf)
        yield from ((Rule.UNEQUAL, other) for other in others if other.answer != first.answer and other.ended < pruned)


def _check_records(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    # A pruned key may be reused before its first estimate is pruned.
    pruned = {record.id for record in facts.stored if any(facts.prunings_of(record.id))}
    renewed = {estimate.house for id_, estimate in facts.acknowledged.items() if any(facts.prunings_of(id_))}
    counts = Counter(record.house for record in facts.stored if record.id not in pruned)
    for record in facts.stored:
        statuses = facts.statuses.get(record.house)
        if statuses is None:
            yield Rule.UNASKED, record
        elif counts[record.house] > 1:
            yield Rule.TWICE, record
        elif all(map(_is_refused, statuses)):
            yield Rule.DENIED, record
        elif (
            200 in statuses
            and record.id not in facts.acknowledged
            and not (record.id in pruned or record.house in renewed)
        ):
            yield Rule.TWICE, record  # and the acknowledged record is lost or was erased
        if any(removal.status == 204 for removal in facts.removals(record.id)):
            yield Rule.ERASED, record


def _check_reads(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    for read in facts.history:
        if read.action is Action.FIND:
            assert read.id
            estimate = facts.acknowledged.get(read.id)
            if read.status == 404 and estimate and facts.must_show(read.id, read):
                yield Rule.LATE, read
            elif read.status == 200:
                if facts.must_be_gone(read.id, read):
                    yield Rule.ERASED, read
                if estimate and any(
                    read.answer[name] != estimate.answer[name] for name in read.answer.keys() & estimate.answer
                ):
                    yield Rule.CHANGED, read


def _check_pages(facts: _Facts, steady_clock: bool) -> Iterator[tuple[Rule, object]]:
    """Check that a page has all estimates down to its last one, newest first, or all estimates if it isn't full."""
    in_order = sorted(facts.acknowledged)
    for read in facts.history:
        if read.action is not Action.LIST or read.status != 200:
            continue
        page = set(read.answer)
        if any(facts.must_be_gone(id_, read) for id_ in page):
            yield Rule.ERASED, read
        if any(older >= newer for newer, older in pairwise(read.answer)):
            yield Rule.ORDER, read
        if read.partial:
            continue
        is_full = read.limit is None or len(page) >= read.limit
        oldest = min(page, default="") if is_full else ""
        for id_ in in_order[bisect_left(in_order, oldest) :]:
            estimate = facts.acknowledged[id_]
            # With a key, the estimate may be older than the request.
            if steady_clock and estimate.key is None and estimate.began > read.ended:
                break  # this one and all that follow were made after the read
            if id_ not in page and facts.must_show(id_, read):
                yield Rule.LATE, read
                break


def _check_order(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    """Check that later requests got later ids. An id begins with the time in milliseconds."""
    in_order = sorted(facts.acknowledged.items(), key=lambda item: item[1].ended)
    ends = [operation.ended for _, operation in in_order]
    latest, so_far = 0, []
    for id_, _ in in_order:
        latest = max(latest, UUID(id_).int >> 80)
        so_far.append(latest)
    for id_, operation in in_order:
        before = bisect_left(ends, operation.began)
        # With a key, the estimate may be older than the request.
        if operation.key is None and before and so_far[before - 1] > UUID(id_).int >> 80:
            yield Rule.ORDER, operation


def _is_refused(status: int | None) -> bool:
    return status is not None and 400 <= status < 500


def _is_same(operation: Operation, stored: Stored) -> bool:
    answer = operation.answer
    return (operation.house, answer["prediction"], answer["model_version"]) == (
        stored.house,
        stored.price,
        stored.model_version,
    )
