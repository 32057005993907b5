"""What settings say of clients: whose web pages may ask, and how often anybody may."""

from __future__ import annotations

import re

from attrs import frozen

ANY_ORIGIN = "*"

_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)
_RATE = re.compile(r"([1-9]\d{0,8})/([smh])", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@frozen
class RateLimit:
    """So many requests in so many seconds."""

    requests: int
    seconds: float

    def __str__(self) -> str:
        """As it is set."""
        units = {seconds: unit for unit, seconds in _SECONDS.items()}
        return f"{self.requests}/{units.get(self.seconds, f'{self.seconds:g}s')}"


def cors_origins(text: str) -> tuple[str, ...]:
    """Origins, with spaces or commas between them, or `*`. Raises ValueError."""
    origins = tuple(text.lower().replace(",", " ").split())
    if not origins or not all(each == ANY_ORIGIN or _ORIGIN.fullmatch(each) for each in origins):
        raise ValueError("must be * or origins such as https://prices.example, without a path, commas between them")
    return origins


def rate_limit(text: str) -> RateLimit:
    """A number of requests each second, minute or hour: `100/s`, `1000/m`, `5000/h`. Raises ValueError."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError("must be a number of requests and s, m or h, such as 100/s")
    return RateLimit(int(found[1]), _SECONDS[found[2]])
