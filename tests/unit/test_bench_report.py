from __future__ import annotations

import pytest

from benchmarks.throughput.profiling import top, without_commands
from benchmarks.throughput.report import markdown
from benchmarks.throughput.runs import Comparison, Outcome, Place, Run, read_run


def a_run(rate: float = 100, p99_ms: float = 5, *, not_2xx: int = 0, stored: int | None = None, rows: int = 1) -> Run:
    answers = round(rate * 10) + not_2xx
    return Run(answers, 10, not_2xx, 0, 1, p99_ms, connections=32, rows_an_answer=rows, stored=stored)


def rounds(**runs: list[Run]) -> dict[Place, list[Run]]:
    return {Place(target, 32): each for target, each in runs.items()}


OURS_THAN_THEIRS = Comparison("ours ÷ theirs", ["ours"], "theirs", 32, at_least=2)


def test_what_wrk_says_is_read_from_its_last_line() -> None:
    output = """Running 8s test @ http://127.0.0.1:5000/predict
  1 threads and 32 connections
    Latency     1.98ms    2.11ms  40.03ms   92.70%
  800 requests in 8.00s, 1.00MB read
Requests/sec:    100.00
{"answers":800,"seconds":8.0,"not_2xx":40,"socket_errors":3,"p50_ms":1.5,"p99_ms":9.25}
"""
    run = read_run(output)
    assert (run.succeeded, run.rate, run.p50_ms, run.p99_ms) == (760, 95.0, 1.5, 9.25)
    assert run.faults == ["40 responses not 2xx, 3 socket errors"]


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", "{}", "[1]"])
def test_a_load_generator_that_tells_no_figures_is_an_error(output: str) -> None:
    with pytest.raises(ValueError, match="reported no result"):
        read_run(output)


@pytest.mark.parametrize("stored", [1000, 1001, 1032])
def test_rows_beyond_the_answers_may_be_those_in_flight_at_the_end(stored: int) -> None:
    assert a_run(stored=stored).faults == []


@pytest.mark.parametrize("stored", [999, 1033, 0])
def test_a_row_that_is_missing_or_one_too_many_is_a_fault(stored: int) -> None:
    assert a_run(stored=stored).faults == [f"{stored} rows stored for 1000 responses of 1"]


def test_a_batch_stores_all_of_its_rows() -> None:
    assert a_run(rows=1000, stored=1_032_000).faults == []
    assert a_run(rows=1000, stored=999_999).faults == ["999999 rows stored for 1000 responses of 1000"]


def test_an_answer_that_is_no_2xx_needs_no_row_and_is_no_part_of_the_rate() -> None:
    run = a_run(not_2xx=500, stored=1000)
    assert run.rate == 100
    assert run.faults == ["500 responses not 2xx, 0 socket errors"]


def test_a_ratio_is_that_of_the_medians_and_shows_the_spread_of_the_rounds() -> None:
    measured = rounds(ours=[a_run(300), a_run(100), a_run(250)], theirs=[a_run(100), a_run(100), a_run(50)])
    outcome = OURS_THAN_THEIRS.outcome(measured)
    assert (outcome.value, outcome.low, outcome.high) == (2.5, 1.0, 5.0)
    assert outcome.verdict == "met"


def test_a_ratio_below_the_target_is_not_met() -> None:
    assert OURS_THAN_THEIRS.outcome(rounds(ours=[a_run(199)], theirs=[a_run(100)])).verdict == "not met"


def test_a_fault_in_either_forbids_the_claim() -> None:
    for measured in (
        rounds(ours=[a_run(900, stored=8999)], theirs=[a_run(100)]),
        rounds(ours=[a_run(900)], theirs=[a_run(100, not_2xx=1)]),
    ):
        outcome = OURS_THAN_THEIRS.outcome(measured)
        assert outcome.verdict == "not met"
        assert outcome.notes


def test_the_better_of_two_is_named() -> None:
    comparison = Comparison("better", ["one", "two"], "theirs", 32, at_least=2)
    outcome = comparison.outcome(rounds(one=[a_run(200)], two=[a_run(300)], theirs=[a_run(100)]))
    assert outcome.value == 3
    assert outcome.notes == ("two",)


def test_of_a_latency_less_is_better() -> None:
    comparison = Comparison("p99", ["one", "two"], "theirs", 32, at_least=20, measure="p99_ms")
    measured = rounds(one=[a_run(p99_ms=10)], two=[a_run(p99_ms=40)], theirs=[a_run(p99_ms=200)])
    outcome = comparison.outcome(measured)
    assert (outcome.value, outcome.notes, outcome.verdict) == (20, ("one",), "met")


def test_a_target_that_was_not_measured_is_said_and_no_claim_is_made_without_any() -> None:
    comparison = Comparison("better", ["one", "two"], "theirs", 32, at_least=2)
    assert "two was not measured" in comparison.outcome(rounds(one=[a_run()], theirs=[a_run()])).notes
    assert comparison.outcome(rounds(theirs=[a_run()])).verdict == "skipped"
    assert comparison.outcome(rounds(one=[a_run()], two=[a_run()])).verdict == "skipped"


def test_an_upper_bound_is_met_at_most() -> None:
    assert Outcome("memory", 60.0, at_most=60.0).verdict == "met"
    assert Outcome("memory", 60.1, at_most=60.0).verdict == "not met"


def test_the_table_has_each_claim_with_its_target_and_its_verdict() -> None:
    measured = rounds(ours=[a_run(250, stored=2500)], theirs=[a_run(100)])
    about = {"cores": 2, "cpu": "a CPU", "system": "Linux", "postgres": "15", "service": {}, "baselines": {}}
    text = markdown(about, "One round.", [OURS_THAN_THEIRS.outcome(measured)], measured)
    assert "| ours ÷ theirs | at least 2x | 2.50x (2.50 to 2.50) | **met** |" in text
    assert "| ours | 32 | 250.0 | 1.00 | 5.00 | 2,500 | 2,500 |  |" in text


def test_a_profile_counts_a_recursive_function_once_a_sample() -> None:
    listed = top(["serve;walk;walk 3", "serve;commit 1"])
    assert listed.splitlines()[1:] == ["  75.0%   75.0%  walk", "  25.0%   25.0%  commit"]


def test_a_flame_graph_names_no_folder_of_the_machine() -> None:
    graph = (
        '<text id="title" fill="rgb(0,0,0)">/opt/bin/py-spy record</text>'
        "<title>process 7:&quot;python serve --data-dir /tmp/x&quot; (704 samples)</title><title>serve (a.py:1)</title>"
    )
    assert without_commands(graph) == (
        '<text id="title" fill="rgb(0,0,0)">housepredict under load</text>'
        "<title>process 7 (704 samples)</title><title>serve (a.py:1)</title>"
    )
