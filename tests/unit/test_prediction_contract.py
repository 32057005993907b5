"""The contract suite can fail: for each of its tests there is a repository that breaks just what the test is about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from housepredict.testing.predictions import PredictionRepositoryContract

pytestmark = pytest.mark.slow

FAILURES = {
    "test_an_empty_repository_has_nothing_to_tell_and_is_ready": ["Unready"],
    "test_what_is_read_is_what_was_recorded_newest_first": [
        "Rounding",
        "Floating",
        "Uncritical",
        "Cocksure",
        "Narrow",
        "WholeBounds",
        "Losing",
        "OldestFirst",
    ],
    "test_no_more_are_read_than_the_limit": ["Generous"],
    "test_pages_hold_everything_once_while_newer_ones_arrive": ["Repeating", "Skipping"],
    "test_a_known_id_is_ignored_and_the_rest_of_its_batch_is_recorded": ["Overwriting"],
    "test_predictions_are_found_by_their_ids_in_order_and_once": ["Unsorted", "FindingAgain"],
    "test_an_id_that_is_not_known_is_left_out_of_what_is_found": ["Demanding"],
    "test_many_are_found_at_once": ["Limited"],
    "test_what_lies_between_two_ids_is_read_oldest_first": ["Including", "Backwards"],
    "test_what_was_erased_is_gone_and_never_recorded_again": ["Reviving", "ShortSighted"],
    "test_what_was_erased_stays_gone_when_the_data_is_opened_anew": ["Forgetful", "Journalling", "Reviving"],
    "test_the_oldest_are_pruned_and_no_more_than_asked": ["Thorough", "Late"],
    "test_find_erased_returns_erased_and_pruned_ids": ["Oblivious", "Reviving", "Resurrecting"],
    "test_pruned_ids_are_never_stored_again": ["Resurrecting", "Absentminded"],
    "test_ids_after_a_prune_are_stored_whatever_its_end": ["Refusing"],
    "test_many_are_erased_at_once": ["Crammed"],
    "test_what_is_recorded_while_it_is_erased_is_gone": ["Leaving"],
    "test_an_id_that_a_batch_repeats_is_recorded_once": ["Duplicating"],
    "test_of_a_batch_that_fails_nothing_is_recorded": ["RowByRow"],
    "test_threads_that_append_at_once_lose_nothing_and_show_whole_batches_only": ["Careless"],
    "test_whatever_is_done_it_behaves_as_a_sorted_list": [
        "Losing",
        "Skipping",
        "Unsorted",
        "Including",
        "Reviving",
        "Late",
    ],
}


def test_a_broken_repository_fails_the_suite() -> None:
    file = Path(__file__).with_name("broken_predictions.py")
    selected = [f"{file}::Test{broken}::{test}" for test, all_broken in FAILURES.items() for broken in all_broken]
    run = subprocess.run(
        # a process of its own: pytest reads a suite as its users do, and the profile spares shrinking what must fail
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--hypothesis-profile=first-failure",
            *selected,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines()[-1].startswith(f"{len(selected)} failed in "), run.stdout + run.stderr


def test_every_test_of_the_suite_is_seen_to_fail() -> None:
    assert {name for name in dir(PredictionRepositoryContract) if name.startswith("test_")} == FAILURES.keys()
