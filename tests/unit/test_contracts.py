"""Each contract test can fail: for each one, a broken repository violates what the test checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from housepredict.testing.prediction_contract import PredictionKeysContract, PredictionRepositoryContract
from housepredict.testing.sale_contract import SaleRepositoryContract

PREDICTIONS = {
    "test_empty_repository_is_ready": "NeverReady",
    "test_recent_returns_stored_predictions_newest_first": (
        "RoundsPrices FloatsIntegers DropsWarnings DropsFsd DropsIntervals IntegerBounds DropsOldest OldestFirst"
    ),
    "test_recent_respects_limit": "ExceedsLimit",
    "test_pages_are_complete_while_predictions_are_appended": "RepeatsLastOfPage SkipsFirstOfPage",
    "test_append_ignores_known_ids": "Overwrites",
    "test_find_returns_each_prediction_once_in_order": "Unsorted FindsDuplicates",
    "test_find_omits_unknown_ids": "FindsAllOrNothing",
    "test_find_accepts_many_ids": "FindsAtMost99",
    "test_between_returns_predictions_oldest_first": "IncludesEnd NewestFirst",
    "test_erased_ids_are_never_stored_again": "ForgetsErased ErasesStoredOnly",
    "test_erased_ids_stay_erased_after_reopening": "ForgetsErasedOnReopen ReplaysJournal ForgetsErased",
    "test_prune_deletes_oldest_up_to_limit": "PrunesTooMany PrunesEnd",
    "test_find_erased_returns_erased_and_pruned_ids": "ReportsStoredErasuresOnly ForgetsErased ForgetsPruned",
    "test_pruned_ids_are_never_stored_again": "ForgetsPruned ForgetsPrunedOnReopen",
    "test_new_ids_are_stored_after_prune_with_future_end": "RejectsBeforeFutureEnd",
    "test_erase_accepts_many_ids": "ErasesAtMost999",
    "test_concurrent_append_and_erase_leave_nothing": "ErasesInTwoSteps",
    "test_repeated_id_in_batch_is_stored_once": "StoresDuplicates",
    "test_failed_batch_stores_nothing": "AppendsRowByRow",
    "test_concurrent_appends_are_atomic_and_complete": "Unlocked",
    "test_random_calls_match_a_sorted_list": (
        "DropsOldest SkipsFirstOfPage Unsorted IncludesEnd ForgetsErased PrunesEnd"
    ),
}
SALES = {
    "test_empty_repository_has_no_sales": "InventsSales",
    "test_append_returns_and_stores_sales": "RoundsPrices IntegerPrices ReturnsInput DropsRecordedAt ReversesHistory",
    "test_correction_counts_and_corrected_sale_stays_in_history": "DropsHistory LatestDateCounts",
    "test_sale_with_largest_id_counts": "LastArrivalCounts",
    "test_largest_id_covers_all_sales": "ReturnsSmallestId",
    "test_current_filters_by_date_latest_first": "ExcludesLastDay ExceedsLimit Unordered",
    "test_repeated_delivery_is_stored_once": "IgnoresKeys",
    "test_key_with_another_request_is_rejected": "IgnoresBody IgnoresKeys",
    "test_empty_delivery_reserves_its_key": "ForgetsEmptyDeliveries",
    "test_failed_batch_stores_no_sales_and_no_key": "AppendsRowByRow StoresKeyFirst",
    "test_concurrent_deliveries_with_one_key_are_stored_once": "Unlocked",
    "test_erase_deletes_only_sales_of_given_predictions": "KeepsErasedDeliveries ErasesCurrentOnly",
    "test_prune_deletes_sales_up_to_limit": "PrunesTooMany",
    "test_concurrent_appends_lose_no_sales": "LosesConcurrentSales",
    "test_random_calls_match_a_list_of_sales": "ReversesHistory IgnoresKeys LatestDateCounts",
}
KEYS = {
    "test_unknown_key_is_not_found": "InventsIds",
    "test_first_ids_are_reserved_in_order": "SortsIds[1000] LastWriteWins[1] LastWriteWins[1000]",
    "test_key_with_another_request_is_rejected": "IgnoresBody LastWriteWins",
    "test_keys_are_compared_exactly": "IgnoresCase",
    "test_prune_deletes_oldest_keys_up_to_limit": "PrunesTooMany",
    "test_pruned_keys_can_be_reused": "RemembersPrunedKeys",
    "test_concurrent_requests_with_one_key_get_the_same_ids": "Unlocked LastWriteWins",
}
SUITES = {
    "broken_predictions.py": (PredictionRepositoryContract, PREDICTIONS),
    "broken_sales.py": (SaleRepositoryContract, SALES),
    "broken_keys.py": (PredictionKeysContract, KEYS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_contract_suite_fails_for_broken_repositories(name: str) -> None:
    file, (_, failures) = Path(__file__).with_name(name), SUITES[name]
    selected = [
        f"{file}::Test{class_name}::{test}{bracket}{count}"
        for test, classes in failures.items()
        for class_name, bracket, count in (each.partition("[") for each in classes.split())
    ]
    # a separate process collects the suites as users do; the profile skips shrinking, as every test must fail
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=first-failure"]
    process = subprocess.run([*command, *selected], capture_output=True, text=True, check=False)
    assert process.stdout.splitlines()[-1].startswith(f"{len(selected)} failed in "), process.stdout + process.stderr


@pytest.mark.parametrize("name", SUITES)
def test_every_contract_test_has_a_broken_repository(name: str) -> None:
    suite, failures = SUITES[name]
    assert {each for each in dir(suite) if each.startswith("test_")} == failures.keys()
