"""Decides from a history and from what is stored in the end whether the promises about records were kept.

Time is compared only where the order is certain: an operation comes after another if it began after the other ended.
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
    FAILED = "a request failed, and not with 503"


@frozen
class Violation:
    """A rule that was broken, and by which operation or record."""

    rule: StrEnum
    by: object


def check(history: Sequence[Operation], stored: Sequence[Stored], *, steady_clock: bool = True) -> list[Violation]:
    """Every violation, rule by rule. With `steady_clock` false, ids may go back in time, as the clock did."""
    return [Violation(rule, by) for rule, by in _violations(_Facts.of(history, stored), steady_clock)]


def _by_key() -> dict[str, list[Operation]]:
    return defaultdict(list)


@frozen
class _Facts:
    """The history, sorted by what the rules ask for."""

    history: Sequence[Operation]
    """In the order of the ends."""
    stored: Sequence[Stored]
    acknowledged: dict[str, Operation] = Factory(dict)
    """The first answer that named each id."""
    statuses: dict[int, set[int | None]] = Factory(lambda: defaultdict(set))
    """By house."""
    answers: dict[str, list[Operation]] = Factory(_by_key)
    """By idempotency key."""
    erasures: dict[str, list[Operation]] = Factory(_by_key)
    """By id, those that may have erased something."""
    prunings: list[Operation] = Factory(list)
    cut_off: dict[str, list[Operation]] = Factory(_by_key)
    """By service."""

    @classmethod
    def of(cls, history: Sequence[Operation], stored: Sequence[Stored]) -> _Facts:
        facts = cls(sorted(history, key=lambda operation: operation.ended), stored)
        for each in facts.history:
            facts._add(each)
        return facts

    def _add(self, each: Operation) -> None:
        match each.action:
            case Action.ESTIMATE:
                assert each.house is not None
                self.statuses[each.house].add(each.status)
                if each.status == 200:
                    self.acknowledged.setdefault(each.answer["id"], each)
                    if each.key:
                        self.answers[each.key].append(each)
            case Action.ERASE:
                assert each.id
                if not _is_refused(each.status):
                    self.erasures[each.id].append(each)
            case Action.PRUNE:
                self.prunings.append(each)
            case Action.CUT_OFF:
                self.cut_off[each.service].append(each)
            case Action.FIND | Action.LIST:
                pass

    def removals(self, id_: str) -> Iterator[Operation]:
        """All that may have removed an estimate."""
        yield from self.erasures.get(id_, ())
        yield from self.prunings_of(id_)

    def prunings_of(self, id_: str) -> Iterator[Operation]:
        return (each for each in self.prunings if each.id and id_ < each.id)

    def may_be_gone(self, id_: str, by: float = inf) -> bool:
        """Whether anybody began to remove an estimate before a time. What that came to is not known at once."""
        return any(each.began < by for each in self.removals(id_))

    def must_be_gone(self, id_: str, read: Operation) -> bool:
        """Whether a read must not show an estimate: its removal was confirmed before, and the service can know.

        It cannot while it is cut off from the database, unless it was the one that confirmed.
        """
        confirmed = [each for each in self.removals(id_) if each.status == 204 and each.ended < read.began]
        return any(each.service == read.service for each in confirmed) or (
            bool(confirmed) and not self._is_cut_off(read)
        )

    def _is_cut_off(self, read: Operation) -> bool:
        windows = self.cut_off.get(read.service, ())
        return any(each.began < read.ended and read.began < each.ended for each in windows)

    def has_to_show(self, id_: str, read: Operation) -> bool:
        """Whether the service had acknowledged the estimate before the read, and nobody tried to remove it until its
        end.
        """
        made = self.acknowledged[id_]
        return made.service == read.service and made.ended < read.began and not self.may_be_gone(id_, read.ended)


def _violations(facts: _Facts, steady_clock: bool) -> Iterator[tuple[Rule, object]]:
    yield from _of_answers(facts)
    yield from _of_records(facts)
    yield from _of_reads(facts)
    yield from _of_pages(facts, steady_clock)
    if steady_clock:
        yield from _of_order(facts)


def _of_answers(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    records = {each.id: each for each in facts.stored}
    for each in facts.history:
        if each.status is not None and each.status >= 500 and each.status != 503:
            yield Rule.FAILED, each
        if each.action is Action.ESTIMATE and each.status == 200:
            id_ = each.answer["id"]
            if facts.must_be_gone(id_, each):
                yield Rule.ERASED, each
            if each.answer.get("size", each.house) != each.house:
                yield Rule.CHANGED, each  # it is somebody else's
            elif id_ in records:
                if not _is_same(each, records[id_]):
                    yield Rule.CHANGED, (each, records[id_])
            elif not facts.may_be_gone(id_):
                yield Rule.LOST, each
    for first, *others in facts.answers.values():
        pruned = min((each.began for each in facts.prunings_of(first.answer["id"])), default=inf)
        yield from ((Rule.UNEQUAL, each) for each in others if each.answer != first.answer and each.ended < pruned)


def _of_records(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    # a key that was pruned may be used anew, before the estimate is gone that it had
    pruned = {each.id for each in facts.stored if any(facts.prunings_of(each.id))}
    renewed = {each.house for id_, each in facts.acknowledged.items() if any(facts.prunings_of(id_))}
    often = Counter(each.house for each in facts.stored if each.id not in pruned)
    for each in facts.stored:
        statuses = facts.statuses.get(each.house)
        if statuses is None:
            yield Rule.UNASKED, each
        elif often[each.house] > 1:
            yield Rule.TWICE, each
        elif all(map(_is_refused, statuses)):
            yield Rule.DENIED, each
        elif 200 in statuses and each.id not in facts.acknowledged and not (each.id in pruned or each.house in renewed):
            yield Rule.TWICE, each  # the acknowledged record is lost as well, or was erased
        if any(removal.status == 204 for removal in facts.removals(each.id)):
            yield Rule.ERASED, each


def _of_reads(facts: _Facts) -> Iterator[tuple[Rule, object]]:
    for read in facts.history:
        if read.action is Action.FIND:
            assert read.id
            made = facts.acknowledged.get(read.id)
            if read.status == 404 and made and facts.has_to_show(read.id, read):
                yield Rule.LATE, read
            elif read.status == 200:
                if facts.must_be_gone(read.id, read):
                    yield Rule.ERASED, read
                if made and any(read.answer[name] != made.answer[name] for name in read.answer.keys() & made.answer):
                    yield Rule.CHANGED, read


def _of_pages(facts: _Facts, steady_clock: bool) -> Iterator[tuple[Rule, object]]:
    """A page holds every estimate that is newer than its last one, newest first; all of them, if it isn't full."""
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
            made = facts.acknowledged[id_]
            # with a key the answer may be older than the question
            if steady_clock and made.key is None and made.began > read.ended:
                break  # made later, as all that follow
            if id_ not in page and facts.has_to_show(id_, read):
                yield Rule.LATE, read
                break


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


def _is_refused(status: int | None) -> bool:
    return status is not None and 400 <= status < 500


def _is_same(operation: Operation, stored: Stored) -> bool:
    answer = operation.answer
    return (operation.house, answer["prediction"], answer["model_version"]) == (
        stored.house,
        stored.price,
        stored.model_version,
    )
