"""The memory that a Linux control group leaves to this process: in a container, what the container was given."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen

# of version 2 and of version 1: where the container's group is, its limit, what is taken of that, and the part of what
# is taken that is given up before anybody is killed
_VERSIONS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@frozen
class CgroupRoom:
    """The limit of the container's group without what others in it take, by the kernel's admin-guide/cgroup-v2 and
    cgroup-v1/memory.
    """

    _groups: Path = field(default=Path("/sys/fs/cgroup"), converter=Path)
    _process: Path = field(default=Path("/proc/self"), converter=Path)

    def __call__(self) -> int | None:
        """See ports.Room."""
        for folder, limit, taken, idle in _VERSIONS:
            group = self._groups / folder
            with suppress(OSError, ValueError):  # "max" is no number: there is no limit
                most = int((group / limit).read_text())
                own = _number(self._process / "status", "RssAnon:") * 1024
                others = int((group / taken).read_text()) - _number(group / "memory.stat", idle) - own
                return max(most - max(others, 0), 0)
        return None


def _number(file: Path, name: str) -> int:
    found = re.search(rf"^{name}\s+(\d+)", file.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
