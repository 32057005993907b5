"""What kind of file is to be written, by its name."""

from __future__ import annotations

import os
from pathlib import Path

from housepredict.domain.errors import InvalidSettings


def ending_of(path: Path | None, *endings: str) -> str:
    """The one of `endings` that the name of an output has, in any case of letters.

    The first is that of standard output (None), a pipe and a device. Raises InvalidSettings.
    """
    name = path.name.lower() if path else ""
    for ending in endings:
        if name.endswith(ending):
            return ending
    # unlike those of Path these never raise
    if path and (os.path.isfile(path) or not os.path.exists(path)):  # noqa: PTH110, PTH113
        *others, last = endings
        raise InvalidSettings([f"the name of the output {path} must end with {', '.join(others)} or {last}"])
    return endings[0]
