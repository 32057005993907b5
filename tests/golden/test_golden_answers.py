"""Every route and every command answers as it was recorded; see `record`."""

from __future__ import annotations

import pytest

from tests.golden.record import ANSWERS, GROUPS, answers_of, differences, recorded


@pytest.mark.parametrize("group", GROUPS)
def test_answers_are_those_that_were_recorded(group: str) -> None:
    if found := differences(recorded(group), answers_of(group)):
        pytest.fail(
            f"{found}\nIf this is intended, add a row to the table in CHANGELOG.md and run "
            f"`python -m tests.golden.record {group}`.",
            pytrace=False,
        )


def test_every_recorded_file_belongs_to_a_group() -> None:
    assert {each.stem for each in ANSWERS.iterdir()} == set(GROUPS)
