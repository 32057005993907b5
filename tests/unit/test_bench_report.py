from __future__ import annotations

import pytest

from benchmarks.throughput.profiling import top, without_commands
from benchmarks.throughput.report import markdown
from benchmarks.throughput.runs import Comparison, Outcome, Place, Run, read_run


def make_run(
    rate: float = 100, p99_ms: float = 5, *, not_2xx: int = 0, stored: int | None = None, rows: int = 1
) -> Run:
    answers = round(rate * 10) + not_2xx
    return Run(answers, 10, not_2xx, 0, 1, p99_ms, connections=32, rows_an_answer=rows, stored=stored)


def rounds(**runs: list[Run]) -> dict[Place, list[Run]]:
    return {Place(target, 32): each for target, each in runs.items()}


OURS_VS_THEIRS = Comparison("ours ÷ theirs", ["ours"], "theirs", 32, at_least=2)


def test_wrk_result_is_read_from_last_line() -> None:
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
def test_wrk_output_without_result_is_rejected(output: str) -> None:
    with pytest.raises(ValueError, match="reported no result"):
        read_run(output)


@pytest.mark.parametrize("stored", [1000, 1001, 1032])
def test_extra_rows_up_to_connections_are_no_fault(stored: int) -> None:
    assert make_run(stored=stored).faults == []


@pytest.mark.parametrize("stored", [999, 1033, 0])
def test_missing_or_excess_rows_are_a_fault(stored: int) -> None:
    assert make_run(stored=stored).faults == [f"{stored} rows stored for 1000 responses of 1"]


def test_batch_rows_are_counted_per_response() -> None:
    assert make_run(rows=1000, stored=1_032_000).faults == []
    assert make_run(rows=1000, stored=999_999).faults == ["999999 rows stored for 1000 responses of 1000"]


def test_failed_responses_count_for_neither_rows_nor_rate() -> None:
    run = make_run(not_2xx=500, stored=1000)
    assert run.rate == 100
    assert run.faults == ["500 responses not 2xx, 0 socket errors"]


def test_comparison_divides_medians_and_shows_range_of_rounds() -> None:
    measured = rounds(
        ours=[make_run(300), make_run(100), make_run(250)], theirs=[make_run(100), make_run(100), make_run(50)]
    )
    outcome = OURS_VS_THEIRS.outcome(measured)
    assert (outcome.value, outcome.low, outcome.high) == (2.5, 1.0, 5.0)
    assert outcome.verdict == "met"


def test_comparison_below_target_is_not_met() -> None:
    assert OURS_VS_THEIRS.outcome(rounds(ours=[make_run(199)], theirs=[make_run(100)])).verdict == "not met"


def test_comparison_with_faults_is_not_met() -> None:
    for measured in (
        rounds(ours=[make_run(900, stored=8999)], theirs=[make_run(100)]),
        rounds(ours=[make_run(900)], theirs=[make_run(100, not_2xx=1)]),
    ):
        outcome = OURS_VS_THEIRS.outcome(measured)
        assert outcome.verdict == "not met"
        assert outcome.notes


def test_comparison_names_the_better_target() -> None:
    comparison = Comparison("better", ["one", "two"], "theirs", 32, at_least=2)
    outcome = comparison.outcome(rounds(one=[make_run(200)], two=[make_run(300)], theirs=[make_run(100)]))
    assert outcome.value == 3
    assert outcome.notes == ("two",)


def test_comparison_prefers_lower_latency() -> None:
    comparison = Comparison("p99", ["one", "two"], "theirs", 32, at_least=20, measure="p99_ms")
    measured = rounds(one=[make_run(p99_ms=10)], two=[make_run(p99_ms=40)], theirs=[make_run(p99_ms=200)])
    outcome = comparison.outcome(measured)
    assert (outcome.value, outcome.notes, outcome.verdict) == (20, ("one",), "met")


def test_comparison_reports_targets_that_were_not_measured() -> None:
    comparison = Comparison("better", ["one", "two"], "theirs", 32, at_least=2)
    assert "two was not measured" in comparison.outcome(rounds(one=[make_run()], theirs=[make_run()])).notes
    assert comparison.outcome(rounds(theirs=[make_run()])).verdict == "skipped"
    assert comparison.outcome(rounds(one=[make_run()], two=[make_run()])).verdict == "skipped"


def test_upper_bound_is_inclusive() -> None:
    assert Outcome("memory", 60.0, at_most=60.0).verdict == "met"
    assert Outcome("memory", 60.1, at_most=60.0).verdict == "not met"


def test_report_has_target_and_verdict_of_each_comparison() -> None:
    measured = rounds(ours=[make_run(250, stored=2500)], theirs=[make_run(100)])
    about = {"cores": 2, "cpu": "a CPU", "system": "Linux", "postgres": "15", "service": {}, "baselines": {}}
    text = markdown(about, "One round.", [OURS_VS_THEIRS.outcome(measured)], measured)
    assert "| ours ÷ theirs | at least 2x | 2.50x (2.50 to 2.50) | **met** |" in text
    assert "| ours | 32 | 250.0 | 1.00 | 5.00 | 2,500 | 2,500 |  |" in text


def test_profile_counts_recursive_functions_once_per_sample() -> None:
    listed = top(["serve;walk;walk 3", "serve;commit 1"])
    assert listed.splitlines()[1:] == ["  75.0%   75.0%  walk", "  25.0%   25.0%  commit"]


def test_flame_graph_has_no_local_paths() -> None:
    graph = (
        '<text id="title" fill="rgb(0,0,0)">/opt/bin/py-spy record</text>'
        "<title>process 7:&quot;python serve --data-dir /tmp/x&quot; (704 samples)</title><title>serve (a.py:1)</title>"
    )
    assert without_commands(graph) == (
        '<text id="title" fill="rgb(0,0,0)">housepredict under load</text>'
        "<title>process 7 (704 samples)</title><title>serve (a.py:1)</title>"
    )
