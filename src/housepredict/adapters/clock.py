"""The system's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import frozen


@frozen
class SystemClock:
    """The time that the machine believes it is."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""
        return datetime.now(UTC)
