"""`housepredict` with a clock that a file moves by a number of seconds, for machines without libfaketime.

CAMPAIGN_CLOCK=FILE python -m campaign.shifted_service serve …
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from attrs import frozen

from housepredict.domain.ports import Clock
from housepredict.entrypoints.cli import main as cli
from housepredict.entrypoints.composition import Application


@frozen
class ShiftedClock:
    """A Clock that adds the seconds in a file to the time."""

    _file: Path

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=int(self._file.read_text()))


class ShiftedApplication(Application):
    """The application with a shifted clock."""

    @cached_property
    def clock(self) -> Clock:
        return ShiftedClock(Path(os.environ["CAMPAIGN_CLOCK"]))


if __name__ == "__main__":
    sys.exit(cli.main(application=ShiftedApplication))
