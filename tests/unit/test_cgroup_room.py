"""The memory that a container leaves to a process, as the kernel's files tell it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.cgroup_room import CgroupRoom

VERSIONS = {
    2: ("groups", "memory.max", "memory.current", "inactive_file"),
    1: ("groups/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
KIB = 1024


def room(folder: Path, version: int, limit: object, taken: int = 0, idle: int = 0, own: int = 0) -> int | None:
    """What is said of a process that has `own` KiB, in a group in which so much is taken."""
    group, *names, key = VERSIONS[version]
    (folder / group).mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, taken), strict=True):
        (folder / group / name).write_text(f"{value}\n")
    alone = "inactive_file 1\n" if version == 1 else ""  # without the groups below it
    (folder / group / "memory.stat").write_text(f"anon 5\nfile 6\n{alone}{key} {idle}\nactive_file 8\n")
    (folder / "process").mkdir(exist_ok=True)
    (folder / "process" / "status").write_text(
        f"Name:\tpython\nVmRSS:\t   99999 kB\nRssAnon:\t{own:8} kB\nRssFile:\t   99 kB\n"
    )
    return CgroupRoom(folder / "groups", folder / "process")()


amounts = st.integers(0, 2**40)


@pytest.mark.parametrize("version", VERSIONS)
@given(limit=amounts, others=amounts, own=st.integers(0, 2**30), idle=amounts)
def test_it_is_the_limit_without_what_others_take(
    tmp_path_factory: pytest.TempPathFactory, version: int, limit: int, others: int, own: int, idle: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"version-{version}"
    assert room(folder, version, limit, others + own * KIB + idle, idle, own) == max(limit - others, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_never_more_than_the_limit(tmp_path: Path, version: int) -> None:
    """What a process has is read a moment after what all of them have."""
    assert room(tmp_path, version, limit=1000 * KIB, taken=300 * KIB, own=400) == 1000 * KIB


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    assert room(tmp_path / "2", 2, "max") is None
    unlimited = room(tmp_path / "1", 1, 9_223_372_036_854_771_712)  # what version 1 says then
    assert unlimited
    assert unlimited > 2**60


def test_where_there_are_no_groups_nothing_is_known_to_be_limited(tmp_path: Path) -> None:
    assert CgroupRoom(tmp_path, tmp_path)() is None
