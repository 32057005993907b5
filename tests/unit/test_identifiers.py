"""Prediction ids are strictly increasing UUIDv7s."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.identifiers import IdSequence

NOON = datetime(2024, 5, 6, 12, 0, 0, 123_000, tzinfo=UTC)
times = st.datetimes(datetime(1971, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))


def is_increasing(ids: list[UUID]) -> bool:
    return all(one < other for one, other in pairwise(ids))


def millisecond(identifier: UUID) -> int:
    return identifier.int >> 80


@given(times, st.integers(1, 50))
def test_id_is_uuid7_with_its_millisecond(now: datetime, count: int) -> None:
    ids = IdSequence().take(count, now)
    assert len(ids) == count
    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
    assert {millisecond(each) for each in ids} == {
        (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    }


@given(st.lists(st.tuples(times, st.integers(0, 20)), max_size=20))
def test_ids_increase_for_any_clock(batches: list[tuple[datetime, int]]) -> None:
    sequence = IdSequence()
    assert is_increasing([each for now, count in batches for each in sequence.take(count, now)])


def test_ids_increase_while_clock_is_frozen() -> None:
    sequence = IdSequence()
    ids = [each for _ in range(100) for each in sequence.take(10, NOON)]
    assert is_increasing(ids)
    assert len({millisecond(each) for each in ids}) == 1


def test_ids_increase_when_clock_steps_back() -> None:
    sequence = IdSequence()
    [before] = sequence.take(1, NOON)
    [after] = sequence.take(1, NOON - timedelta(hours=1))
    assert after > before
    assert millisecond(after) == millisecond(before)


@given(times, st.integers(1, 20), times)
def test_ids_exceed_given_id_of_another_clock(theirs: datetime, count: int, ours: datetime) -> None:
    sequence = IdSequence()
    first = sequence.take(count, ours)
    above = IdSequence().take(count, theirs)[-1]
    ids = [*sequence.take(count, ours, above), *sequence.take(count, ours)]
    assert is_increasing([*first, *ids])
    assert ids[0] > above
    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
    assert millisecond(ids[0]) == max(millisecond(above), millisecond(first[-1])), "and no further than it takes"


def test_ids_increase_across_counter_carry() -> None:
    sequence = IdSequence(millisecond=millisecond(IdSequence().take(1, NOON)[0]), counter=(1 << 62) - 3)
    ids = list(sequence.take(5, NOON))
    assert is_increasing(ids)
    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}
    assert len({each.int >> 64 for each in ids}) == 2


def test_sequence_is_thread_safe() -> None:
    sequence = IdSequence()
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: sequence.take(50, NOON), range(100)))
    assert all(is_increasing(list(batch)) for batch in batches)
    assert len({each for batch in batches for each in batch}) == 5000
    # Batches of different threads are not interleaved.
    batches.sort(key=list)
    assert all(one[-1] < other[0] for one, other in pairwise(batches))


def test_sequences_do_not_collide() -> None:
    assert not {*IdSequence().take(100, NOON)} & {*IdSequence().take(100, NOON)}
