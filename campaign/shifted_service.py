"""`housepredict` with a clock that is as many seconds ahead as a file says, for machines without libfaketime.

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
    """A Clock that reads the file each time."""

    _file: Path

    def now(self) -> datetime:
        """The time in UTC, with its zone, and shifted."""
        return datetime.now(UTC) + timedelta(seconds=int(self._file.read_text()))


class ShiftedApplication(Application):
    """The application with such a clock."""

    @cached_property
    def clock(self) -> Clock:
        """What time it is."""
        return ShiftedClock(Path(os.environ["CAMPAIGN_CLOCK"]))


if __name__ == "__main__":
    sys.exit(cli.main(application=ShiftedApplication))
