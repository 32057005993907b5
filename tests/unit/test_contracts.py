"""Each contract suite can fail: for each of its tests something breaks just what the test is about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from housepredict.testing.prediction_contract import PredictionKeysContract, PredictionRepositoryContract
from housepredict.testing.sale_contract import SaleRepositoryContract

PREDICTIONS = {
    "test_empty_repository_is_ready": "Unready",
    "test_recent_returns_stored_predictions_newest_first": (
        "Rounding Floating Uncritical Cocksure Narrow WholeBounds Losing OldestFirst"
    ),
    "test_recent_respects_limit": "Generous",
    "test_pages_are_complete_while_predictions_are_appended": "Repeating Skipping",
    "test_append_ignores_known_ids": "Overwriting",
    "test_find_returns_each_prediction_once_in_order": "Unsorted FindingAgain",
    "test_find_omits_unknown_ids": "Demanding",
    "test_find_accepts_many_ids": "Limited",
    "test_between_returns_predictions_oldest_first": "Including Backwards",
    "test_erased_ids_are_never_stored_again": "Reviving ShortSighted",
    "test_erased_ids_stay_erased_after_reopening": "Forgetful Journalling Reviving",
    "test_prune_deletes_oldest_up_to_limit": "Thorough Late",
    "test_find_erased_returns_erased_and_pruned_ids": "Oblivious Reviving Resurrecting",
    "test_pruned_ids_are_never_stored_again": "Resurrecting Absentminded",
    "test_new_ids_are_stored_after_prune_with_future_end": "Refusing",
    "test_erase_accepts_many_ids": "Crammed",
    "test_concurrent_append_and_erase_leave_nothing": "Leaving",
    "test_repeated_id_in_batch_is_stored_once": "Duplicating",
    "test_failed_batch_stores_nothing": "RowByRow",
    "test_concurrent_appends_are_atomic_and_complete": "Careless",
    "test_random_calls_match_a_sorted_list": "Losing Skipping Unsorted Including Reviving Late",
}
SALES = {
    "test_empty_repository_has_no_sales": "Haunted",
    "test_append_returns_and_stores_sales": "Rounding Whole Silent Timeless Misplacing",
    "test_correction_counts_and_corrected_sale_stays_in_history": "Overwriting LastSold",
    "test_sale_with_largest_id_counts": "LastArrived",
    "test_largest_id_covers_all_sales": "Smallest",
    "test_current_filters_by_date_latest_first": "Narrow Generous Unordered",
    "test_repeated_delivery_is_stored_once": "Deaf",
    "test_key_with_another_request_is_rejected": "Trusting Deaf",
    "test_empty_delivery_reserves_its_key": "NeverEmpty",
    "test_failed_batch_stores_no_sales_and_no_key": "RowByRow KeyFirst",
    "test_concurrent_deliveries_with_one_key_are_stored_once": "Careless",
    "test_erase_deletes_only_sales_of_given_predictions": "Remembering Latest",
    "test_prune_deletes_sales_up_to_limit": "Thorough",
    "test_concurrent_appends_lose_no_sales": "Racing",
    "test_random_calls_match_a_list_of_sales": "Misplacing Deaf LastSold",
}
KEYS = {
    "test_unknown_key_is_not_found": "Haunted",
    "test_first_ids_are_reserved_in_order": "Sorting[1000] LastComes[1] LastComes[1000]",
    "test_key_with_another_request_is_rejected": "Trusting LastComes",
    "test_keys_are_compared_exactly": "CaseBlind",
    "test_prune_deletes_oldest_keys_up_to_limit": "Thorough",
    "test_pruned_keys_can_be_reused": "Grudging",
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
