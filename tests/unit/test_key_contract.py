"""The contract suite of keys can fail: for each of its tests there are keys that break what it is about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from housepredict.testing.keys import PredictionKeysContract

pytestmark = pytest.mark.slow

FAILURES = {
    "test_a_key_that_never_came_is_not_known": ["Haunted"],
    "test_the_ids_that_came_first_are_kept_in_their_order": ["Sorting[1000]", "LastComes[1]", "LastComes[1000]"],
    "test_a_key_that_comes_with_something_else_is_refused": ["Trusting", "LastComes"],
    "test_keys_differ_in_every_character": ["CaseBlind"],
    "test_old_keys_are_pruned_the_oldest_first_and_no_more_than_asked": ["Thorough"],
    "test_pruned_keys_are_free_for_another_request": ["Grudging"],
    "test_all_who_come_at_once_with_one_key_get_the_same_ids": ["Careless", "LastComes"],
}


def test_broken_keys_fail_the_suite() -> None:
    file = Path(__file__).with_name("broken_keys.py")
    selected = [
        f"{file}::Test{name}::{test}{bracket}{count}"
        for test, all_broken in FAILURES.items()
        for name, bracket, count in (each.partition("[") for each in all_broken)
    ]
    # a process of its own: pytest reads a suite as its users do
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run([*command, *selected], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1].startswith(f"{len(selected)} failed in "), run.stdout + run.stderr


def test_every_test_of_the_suite_is_seen_to_fail() -> None:
    assert {name for name in dir(PredictionKeysContract) if name.startswith("test_")} == FAILURES.keys()
