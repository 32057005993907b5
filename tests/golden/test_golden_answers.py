"""Every route and command answers as recorded; see `record`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.golden.record import ANSWERS, GROUPS, answers_of, differences, recorded

REFERENCE = Path("docs/reference")


@pytest.mark.parametrize("group", GROUPS)
def test_answers_equal_recorded_answers(group: str) -> None:
    if found := differences(recorded(group), answers_of(group)):
        pytest.fail(
            f'{found}\nIf this is intended, add a row to the table "Changed answers" in CHANGELOG.md, and run '
            f"`python -m tests.golden.record {group}`.",
            pytrace=False,
        )


class TestEverythingIsRecorded:
    def test_answer_files_belong_to_groups(self) -> None:
        assert {each.stem for each in ANSWERS.iterdir()} == set(GROUPS)

    def test_every_route_and_method_is_recorded(self) -> None:
        document: dict[str, Any] = recorded("openapi")["openapi"][0]["body"]
        asked = {each["request"].partition("?")[0] for each in _entries() if "status" in each}
        for path, operations in document["paths"].items():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))
            for method in operations.keys() & {"get", "post", "delete", "put", "patch"}:
                assert any(re.fullmatch(f"{method.upper()} {pattern}", each) for each in asked), f"{method} {path}"

    def test_every_problem_is_recorded(self) -> None:
        documented = set(
            re.findall(
                r"^\| `([a-z0-9-]+)` \| \d{3} \|", (REFERENCE / "http.md").read_text(encoding="utf-8"), re.MULTILINE
            )
        )
        answers = "".join(each.read_text(encoding="utf-8") for each in ANSWERS.iterdir() if each.stem != "openapi")
        assert len(documented) >= 35
        assert documented == documented & set(re.findall(r"urn:housepredict:problem:([a-z0-9-]+)", answers))

    def test_every_command_is_recorded(self) -> None:
        text = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
        commands = re.findall(r"^## `(housepredict .+)`$", text, re.MULTILINE)
        run = [each["command"] for each in _entries() if "command" in each]
        assert len(commands) > 20
        assert [each for each in commands if not any(f"{line} ".startswith(f"{each} ") for line in run)] == []


def test_differences_are_shown_as_diff() -> None:
    before = {"houses": [{"request": "GET /health", "status": 200, "body": {"status": "healthy", "model": "first"}}]}
    now = json.loads(json.dumps(before).replace("first", "second"))
    assert differences(before, before) == ""
    lines = differences(before, now).splitlines()
    assert lines[0] == "houses, 1: GET /health"
    assert [line for line in lines if line.startswith(("+", "-"))] == ['-  "model": "first"', '+  "model": "second"']


def _entries() -> list[dict[str, Any]]:
    return [entry for group in GROUPS for entries in recorded(group).values() for entry in entries]
