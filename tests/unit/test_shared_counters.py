"""Counters in shared memory: counts survive the end of a worker."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from housepredict.entrypoints.http.metrics import request_families
from housepredict.entrypoints.http.request_metrics import SECONDS, Key, Meter, SharedCounters

_names = st.text(st.characters(codec="utf-8", exclude_characters="\t"), max_size=20)
_keys = st.tuples(_names, _names)


@given(st.lists(st.tuples(st.integers(0, 2), _keys)))
def test_counters_sum_over_workers(events: list[tuple[int, Key]]) -> None:
    counters = SharedCounters.of(3)
    regions = [counters.region(worker) for worker in range(3)]
    for worker, key in events:
        regions[worker].row(key).add()
    assert {key: cells[0] for key, cells in counters.read().items()} == Counter(key for _, key in events)


@given(st.lists(st.floats(0, 20)))
def test_histogram_buckets_include_their_bounds(values: list[float]) -> None:
    meter = Meter.of(SharedCounters.of(1))
    row = meter.request("GET", "/", 200)
    for value in values:
        row.observe(SECONDS, value)
    requests = next(request_families(meter))
    buckets = {each.labels["le"]: each.value for each in requests.samples if each.name.endswith("_bucket")}
    expected = {str(bound): sum(value <= bound for value in values) for bound in SECONDS} | {"+Inf": len(values)}
    assert buckets == expected
    [total] = [each.value for each in requests.samples if each.name.endswith("_sum")]
    assert abs(total - sum(values)) < 1e-6


def test_region_of_forked_worker_is_reused() -> None:
    counters = SharedCounters.of(2)
    counters.region(0).row(("a", "b")).add(1)
    for number in (10, 100):
        child = os.fork()
        if child == 0:
            counters.region(1).row(("a", "b")).add(number)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert {key: cells[0] for key, cells in counters.read().items()} == {("a", "b"): 111}


def test_counters_beyond_capacity_are_dropped() -> None:
    counters = SharedCounters.of(2)
    region = counters.region(0)
    for number in range(600):
        region.row(("many", str(number))).add()
    region.row(("long" * 100,)).add()
    counters.region(1).row(("other",)).add()
    found = counters.read()
    assert found["many", "0"][0] == found["other",][0] == 1
    assert len(found) == 513
    assert all(cells[0] == 1 for cells in found.values())


def test_waiting_requests_of_dead_worker_are_reset() -> None:
    counters = SharedCounters.of(2)
    first, second = Meter.of(counters, 0), Meter.of(counters, 1)
    first.watch(lambda: 3, int)
    second.watch(lambda: 4, int)

    def waiting() -> float:
        return list(request_families(first))[-1].samples[0].value

    assert waiting() == 7
    Meter.of(counters, 1).watch(lambda: 0, int)
    assert waiting() == 3


def test_model_generation_is_published_per_worker() -> None:
    counters, generations = SharedCounters.of(2), [7, 7]
    meters = [Meter.of(counters, worker) for worker in range(2)]
    for worker, meter in enumerate(meters):
        meter.watch(int, partial(generations.__getitem__, worker))

    def published() -> dict[str, float]:
        [gauge] = [each for each in request_families(meters[0]) if each.name == "housepredict_model_generation"]
        return {sample.labels["worker"]: sample.value for sample in gauge.samples}

    assert published() == {"0": 7, "1": 7}
    generations[:] = [8, 8]
    assert published() == {"0": 8, "1": 7}
    meters[1].publish()
    assert published() == {"0": 8, "1": 8}
    Meter.of(counters, 1).watch(int, lambda: 9)
    assert published() == {"0": 8, "1": 9}
