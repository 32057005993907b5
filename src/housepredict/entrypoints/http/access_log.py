"""One line a request, but not for each of thousands a second."""

from __future__ import annotations

import logging
from typing import Any

from attrs import define, field

_log = logging.getLogger("housepredict.access")

SLOW = 1.0
"""Seconds from which on a request is slow."""

SAMPLED_EVERY = 1.0
"""Seconds in which one request is told of that was neither slow nor an error."""

LEFT = 499
"""The status of a request whose client did not wait for an answer."""


@define(eq=False)
class AccessLog:
    """Tells of requests; see Settings.access_log. Used in one thread."""

    _mode: str
    _next: float = field(default=0.0, init=False)  # when another sample is due
    _passed: int = field(default=0, init=False)  # since the last one

    def stands_for(self, is_error: bool, seconds: float, now: float) -> int:
        """How many requests a line about this one stands for; 0 for no line. To be asked once for each request."""
        if is_error or seconds >= SLOW or self._mode == "all":
            return int(self._mode != "none")
        self._passed += 1
        if self._mode != "sampled" or now < self._next:
            return 0
        self._next, passed, self._passed = now + SAMPLED_EVERY, self._passed, 0
        return passed

    def tell(self, method: str, route: str, status: int, seconds: float, stands_for: int, **more: Any) -> None:
        """Write the line: what was asked for is the template of a route, and nothing of what was sent."""
        fields = {
            **{name: value for name, value in more.items() if value is not None},
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "stands_for": stands_for,
        }
        level = logging.WARNING if status >= 500 else logging.INFO
        _log.log(level, "%s %s %d", method, route, status, extra={"fields": fields})
