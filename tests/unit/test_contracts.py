"""Each contract suite can fail: for each of its tests something breaks just what the test is about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from housepredict.testing.prediction_contract import PredictionKeysContract, PredictionRepositoryContract
from housepredict.testing.sale_contract import SaleRepositoryContract

PREDICTIONS = {
    "test_an_empty_repository_has_nothing_to_tell_and_is_ready": "Unready",
    "test_what_is_read_is_what_was_recorded_newest_first": (
        "Rounding Floating Uncritical Cocksure Narrow WholeBounds Losing OldestFirst"
    ),
    "test_no_more_are_read_than_the_limit": "Generous",
    "test_pages_hold_everything_once_while_newer_ones_arrive": "Repeating Skipping",
    "test_a_known_id_is_ignored_and_the_rest_of_its_batch_is_recorded": "Overwriting",
    "test_predictions_are_found_by_their_ids_in_order_and_once": "Unsorted FindingAgain",
    "test_an_id_that_is_not_known_is_left_out_of_what_is_found": "Demanding",
    "test_many_are_found_at_once": "Limited",
    "test_what_lies_between_two_ids_is_read_oldest_first": "Including Backwards",
    "test_what_was_erased_is_gone_and_never_recorded_again": "Reviving ShortSighted",
    "test_what_was_erased_stays_gone_when_the_data_is_opened_anew": "Forgetful Journalling Reviving",
    "test_the_oldest_are_pruned_and_no_more_than_asked": "Thorough Late",
    "test_find_erased_returns_erased_and_pruned_ids": "Oblivious Reviving Resurrecting",
    "test_pruned_ids_are_never_stored_again": "Resurrecting Absentminded",
    "test_ids_after_a_prune_are_stored_whatever_its_end": "Refusing",
    "test_many_are_erased_at_once": "Crammed",
    "test_what_is_recorded_while_it_is_erased_is_gone": "Leaving",
    "test_an_id_that_a_batch_repeats_is_recorded_once": "Duplicating",
    "test_of_a_batch_that_fails_nothing_is_recorded": "RowByRow",
    "test_threads_that_append_at_once_lose_nothing_and_show_whole_batches_only": "Careless",
    "test_whatever_is_done_it_behaves_as_a_sorted_list": "Losing Skipping Unsorted Including Reviving Late",
}
SALES = {
    "test_an_empty_repository_has_nothing_to_tell": "Haunted",
    "test_what_is_recorded_is_given_back_and_read_as_it_was": "Rounding Whole Silent Timeless Misplacing",
    "test_a_correction_counts_and_what_it_corrects_is_kept": "Overwriting LastSold",
    "test_the_largest_id_counts_whatever_was_recorded_first": "LastArrived",
    "test_the_largest_id_is_that_of_all_sales": "Smallest",
    "test_what_was_sold_in_a_span_of_days_is_found_latest_first": "Narrow Generous Unordered",
    "test_a_delivery_that_comes_again_is_recorded_once": "Deaf",
    "test_a_key_that_comes_with_something_else_is_refused": "Trusting Deaf",
    "test_a_delivery_of_nothing_is_remembered_too": "NeverEmpty",
    "test_of_a_batch_that_fails_nothing_is_recorded_and_its_key_is_free": "RowByRow KeyFirst",
    "test_deliveries_with_one_key_that_come_at_once_are_recorded_once": "Careless",
    "test_the_sales_of_predictions_that_are_erased_are_gone_and_no_others": "Remembering Latest",
    "test_the_sales_of_old_predictions_are_pruned_and_no_more_than_asked": "Thorough",
    "test_threads_that_append_at_once_lose_nothing": "Racing",
    "test_whatever_is_done_it_behaves_as_a_list_of_sales": "Misplacing Deaf LastSold",
}
KEYS = {
    "test_a_key_that_never_came_is_not_known": "Haunted",
    "test_the_ids_that_came_first_are_kept_in_their_order": "Sorting[1000] LastComes[1] LastComes[1000]",
    "test_a_key_that_comes_with_something_else_is_refused": "Trusting LastComes",
    "test_keys_differ_in_every_character": "CaseBlind",
    "test_old_keys_are_pruned_the_oldest_first_and_no_more_than_asked": "Thorough",
    "test_pruned_keys_are_free_for_another_request": "Grudging",
    "test_concurrent_requests_with_one_key_get_the_same_ids": "Careless LastComes",
}
SUITES = {
    "broken_predictions.py": (PredictionRepositoryContract, PREDICTIONS),
    "broken_sales.py": (SaleRepositoryContract, SALES),
    "broken_keys.py": (PredictionKeysContract, KEYS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_what_is_broken_fails_the_suite(name: str) -> None:
    file, (_, failures) = Path(__file__).with_name(name), SUITES[name]
    selected = [
        f"{file}::Test{broken}::{test}{bracket}{count}"
        for test, all_broken in failures.items()
        for broken, bracket, count in (each.partition("[") for each in all_broken.split())
    ]
    # a process of its own: pytest reads a suite as its users do, and the profile spares shrinking what must fail
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=first-failure"]
    run = subprocess.run([*command, *selected], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1].startswith(f"{len(selected)} failed in "), run.stdout + run.stderr


@pytest.mark.parametrize("name", SUITES)
def test_every_test_of_the_suite_is_seen_to_fail(name: str) -> None:
    suite, failures = SUITES[name]
    assert {each for each in dir(suite) if each.startswith("test_")} == failures.keys()
