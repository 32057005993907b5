"""The contract suite of sales can fail: for each of its tests there is a repository that breaks what it is about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from housepredict.testing.sales import SaleRepositoryContract

pytestmark = pytest.mark.slow

FAILURES = {
    "test_an_empty_repository_has_nothing_to_tell": ["Haunted"],
    "test_what_is_recorded_is_given_back_and_read_as_it_was": ["Rounding", "Whole", "Silent", "Timeless", "Misplacing"],
    "test_a_correction_counts_and_what_it_corrects_is_kept": ["Overwriting", "LastSold"],
    "test_the_largest_id_counts_whatever_was_recorded_first": ["LastArrived"],
    "test_the_largest_id_is_that_of_all_sales": ["Smallest"],
    "test_what_was_sold_in_a_span_of_days_is_found_latest_first": ["Narrow", "Generous", "Unordered"],
    "test_a_delivery_that_comes_again_is_recorded_once": ["Deaf"],
    "test_a_key_that_comes_with_something_else_is_refused": ["Trusting", "Deaf"],
    "test_a_delivery_of_nothing_is_remembered_too": ["NeverEmpty"],
    "test_of_a_batch_that_fails_nothing_is_recorded_and_its_key_is_free": ["RowByRow", "KeyFirst"],
    "test_deliveries_with_one_key_that_come_at_once_are_recorded_once": ["Careless"],
    "test_the_sales_of_predictions_that_are_erased_are_gone_and_no_others": ["Remembering", "Latest"],
    "test_the_sales_of_old_predictions_are_pruned_and_no_more_than_asked": ["Thorough"],
    "test_threads_that_append_at_once_lose_nothing": ["Racing"],
    "test_whatever_is_done_it_behaves_as_a_list_of_sales": ["Misplacing", "Deaf", "LastSold"],
}


def test_a_broken_repository_fails_the_suite() -> None:
    file = Path(__file__).with_name("broken_sales.py")
    selected = [f"{file}::Test{broken}::{test}" for test, all_broken in FAILURES.items() for broken in all_broken]
    # a process of its own: pytest reads a suite as its users do, and the profile spares shrinking what must fail
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=first-failure"]
    run = subprocess.run([*command, *selected], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1].startswith(f"{len(selected)} failed in "), run.stdout + run.stderr


def test_every_test_of_the_suite_is_seen_to_fail() -> None:
    assert {name for name in dir(SaleRepositoryContract) if name.startswith("test_")} == FAILURES.keys()
