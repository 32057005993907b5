"""The coalescer: one call for all pending jobs, an outcome for each, and a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from threading import Event

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from housepredict.entrypoints.http.batching import Coalescer, Overloaded


@define
class Work:
    """Doubles numbers, fails for negative ones, records its batches and can be blocked."""

    batches: list[list[int]] = field(factory=list)
    began: Event = field(factory=Event)
    may_end: Event = field(factory=Event)

    def __call__(self, jobs: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(jobs))
        self.began.set()
        assert self.may_end.wait(10)
        return [ValueError(job) if job < 0 else 2 * job for job in jobs]


def submit_job(coalescer: Coalescer[int, int], job: int, weight: int) -> asyncio.Future[int]:
    outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    coalescer.submit(job, weight, outcome)
    return outcome


def test_coalescer_batches_jobs_submitted_during_a_batch() -> None:
    work = Work()

    async def scene() -> list[int]:
        with closing(Coalescer[int, int](work, 10, 10)) as coalescer:
            first = submit_job(coalescer, 1, 1)
            await asyncio.to_thread(work.began.wait, 10)
            rest = [submit_job(coalescer, job, 1) for job in (2, 3, 4)]
            work.may_end.set()
            return list(await asyncio.gather(first, *rest))

    assert asyncio.run(scene()) == [2, 4, 6, 8]
    assert work.batches == [[1], [2, 3, 4]]


@given(st.lists(st.tuples(st.integers(-3, 50), st.integers(1, 7)), min_size=1, max_size=30), st.integers(1, 10))
def test_coalescer_preserves_order_outcomes_and_batch_weight(jobs: list[tuple[int, int]], most: int) -> None:
    work = Work()
    work.may_end.set()

    async def scene() -> list[int | BaseException]:
        with closing(Coalescer[int, int](work, most, 1000)) as coalescer:
            outcomes = [submit_job(coalescer, job, weight) for job, weight in jobs]
            return list(await asyncio.gather(*outcomes, return_exceptions=True))

    outcomes = asyncio.run(scene())
    for (job, _), outcome in zip(jobs, outcomes, strict=True):
        assert isinstance(outcome, ValueError) if job < 0 else outcome == 2 * job
    assert [job for batch in work.batches for job in batch] == [job for job, _ in jobs]
    weights = iter(weight for _, weight in jobs)
    for batch in work.batches:
        carried = [next(weights) for _ in batch]
        assert len(batch) == 1 or sum(carried) <= most


def test_coalescer_rejects_jobs_while_its_queue_is_full() -> None:
    work = Work()

    async def scene() -> None:
        with closing(Coalescer[int, int](work, 10, 2)) as coalescer:
            first = submit_job(coalescer, 1, 1)
            await asyncio.to_thread(work.began.wait, 10)
            pending = [submit_job(coalescer, 2, 1), submit_job(coalescer, 3, 1)]
            with pytest.raises(Overloaded):
                submit_job(coalescer, 4, 1)
            work.may_end.set()
            assert await asyncio.gather(first, *pending) == [2, 4, 6]
            assert await submit_job(coalescer, 5, 1) == 10

    asyncio.run(scene())


def test_coalescer_skips_cancelled_pending_jobs() -> None:
    work = Work()

    async def scene() -> None:
        with closing(Coalescer[int, int](work, 10, 10)) as coalescer:
            first = submit_job(coalescer, 1, 1)
            await asyncio.to_thread(work.began.wait, 10)
            second, third = submit_job(coalescer, 2, 1), submit_job(coalescer, 3, 1)
            second.cancel()
            work.may_end.set()
            assert [await first, await third] == [2, 6]

    asyncio.run(scene())
    assert work.batches == [[1], [3]]


def test_cancelled_job_in_flight_does_not_affect_others() -> None:
    work = Work()

    async def scene() -> None:
        with closing(Coalescer[int, int](work, 10, 10)) as coalescer:
            first = submit_job(coalescer, 1, 1)
            await asyncio.to_thread(work.began.wait, 10)
            first.cancel()
            second = submit_job(coalescer, 2, 1)
            work.may_end.set()
            assert await second == 4

    asyncio.run(scene())


def test_failed_batch_fails_each_of_its_jobs() -> None:
    def work(jobs: Sequence[int]) -> Sequence[int | Exception]:
        raise ZeroDivisionError(len(jobs))

    async def scene() -> None:
        with closing(Coalescer[int, int](work, 10, 10)) as coalescer:
            for outcome in [submit_job(coalescer, job, 1) for job in range(3)]:
                with pytest.raises(ZeroDivisionError):
                    await outcome

    asyncio.run(scene())
