"""Record the golden answers of every route and command, so that no change goes unnoticed.

    python -m tests.golden.record              record all groups again
    python -m tests.golden.record predict v2   record some of them

Review the differences before you commit them. Each intended difference is a row of the table "Changed answers" in
CHANGELOG.md. The folder `answers` has a JSON file per group. The docstring of `masks` lists what is not recorded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

from tests.golden.commands import COMMANDS
from tests.golden.exchanges import Entry, Service, Shell
from tests.golden.http_requests import REQUESTS
from tests.golden.sockets import SOCKETS, Server

ANSWERS = Path(__file__).with_name("answers")
GROUPS: Mapping[str, Sequence[Service | Server | Shell]] = {**REQUESTS, **SOCKETS, **COMMANDS}
_WIDTH = 120


def answers_of(group: str) -> dict[str, list[Entry]]:
    """Send every request, or run every command, of a group. Returns the answers by the name of the service or shell."""
    return {each.name: each.answers() for each in GROUPS[group]}


def recorded(group: str) -> dict[str, list[Entry]]:
    """Read the recorded answers of a group."""
    found: dict[str, list[Entry]] = json.loads(_file(group).read_text(encoding="utf-8"))
    return found


def differences(before: Mapping[str, list[Entry]], now: Mapping[str, list[Entry]]) -> str:
    """Describe what differs, as a diff; an empty text if nothing does. Ignores the order of keys."""
    found = []
    for name in [*before, *(each for each in now if each not in before)]:
        ours, theirs = before.get(name, []), now.get(name, [])
        for place in range(max(len(ours), len(theirs))):
            was = ours[place] if place < len(ours) else {}
            is_ = theirs[place] if place < len(theirs) else {}
            if json.dumps(was, sort_keys=True) != json.dumps(is_, sort_keys=True):
                asked = {**was, **is_}
                title = f"{name}, {place + 1}: {asked.get('request') or asked.get('command')}"
                lines = (_lines(was), _lines(is_))
                shown = list(unified_diff(*lines, n=3, lineterm=""))[2:]
                found += [title, *("…" if line.startswith("@@") else line for line in shown), ""]
    return "\n".join(found)


def _lines(entry: Entry) -> list[str]:
    return pretty(entry).splitlines()


def pretty(value: Any, indent: int = 0, used: int = 0) -> str:
    """Format JSON with short values on one line."""
    short = json.dumps(value, ensure_ascii=False)
    if indent + used + len(short) < _WIDTH and not (isinstance(value, dict) and "status" in value):
        return short
    inner = " " * (indent + 1)
    match value:
        case dict() if value:
            named = ((json.dumps(name, ensure_ascii=False), inside) for name, inside in value.items())
            lines = [f"{inner}{name}: {pretty(inside, indent + 1, len(name) + 2)}" for name, inside in named]
            return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
        case list() if value:
            return "[\n" + ",\n".join(inner + pretty(each, indent + 1) for each in value) + "\n" + " " * indent + "]"
        case _:
            return short


def _file(group: str) -> Path:
    return ANSWERS / f"{group}.json"


def main(groups: Sequence[str]) -> int:
    """Record groups, by default all. Returns the exit code."""
    if unknown := [each for each in groups if each not in GROUPS]:
        sys.stderr.write(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}\n")
        return 2
    ANSWERS.mkdir(exist_ok=True)
    for group in groups or GROUPS:
        _file(group).write_text(pretty(answers_of(group)) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
