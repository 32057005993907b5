"""What a request passes before its route, where the settings ask for it: CORS, and a limit on how many come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from housepredict.entrypoints.client_settings import RateLimit
from housepredict.entrypoints.http.problems import Problem

MAX_ADDRESSES = 65_536
"""Most addresses that are remembered; of more, those that asked longest ago start anew."""

UNLIMITED = ("/health", "/v2/health")
"""What the paths begin with that have no limit."""
_METHODS = ("DELETE", "GET", "POST")
_HEADERS = ("Authorization", "Content-Encoding", "Idempotency-Key", "Inference-Header-Content-Length", "Prefer")
_EXPOSED = ("Inference-Header-Content-Length", "Link", "Location", "Preference-Applied", "Retry-After")
_ROUNDING = 1e-6  # seconds


@define(eq=False)
class Limiter:
    """A token bucket for each client address: as many requests at once as the limit says, and tokens at its rate.

    A bucket is kept as the time at which it is full again (the generic cell rate algorithm, ITU-T I.371). Used in one
    event loop.
    """

    _limit: RateLimit
    _monotonic: Callable[[], float] = time.monotonic
    _most: int = MAX_ADDRESSES
    _full_at: dict[str, float] = field(factory=dict, init=False)

    def take(self, scope: Scope) -> None:
        """Take a token for a request. Raises a Problem if there is none."""
        address: str = (scope.get("client") or ("",))[0]
        now, limit = self._monotonic(), self._limit
        # taken out and put back, so that they are in the order of their last requests
        full_at = max(self._full_at.pop(address, now), now)
        taken = full_at + limit.seconds / limit.requests
        wait = taken - now - limit.seconds
        is_there = wait <= _ROUNDING
        self._full_at[address] = taken if is_there else full_at
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        if not is_there:
            detail = f"From one address come {limit.requests} requests in {limit.seconds:g} s at most."
            headers = {"Retry-After": str(math.ceil(wait))}
            raise Problem("rate-limited", 429, "Too many requests from there", detail, headers=headers)


class Limits:
    """Lets requests pass as the limiter in the app's state does, those about its health in any case."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass. Raises a Problem."""
        limiter: Limiter | None = _state(scope, "limiter")
        if limiter and not scope["path"].removeprefix(scope.get("root_path", "")).startswith(UNLIMITED):
            limiter.take(scope)
        await self._app(scope, receive, send)


class Cors:
    """Starlette's CORS middleware for the origins in the app's state, which are known when its lifespan has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._origins: Sequence[str] = ()
        self._inner: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, with what other origins' pages have to be told."""
        origins: Sequence[str] = _state(scope, "cors_origins") or ()
        if origins is not self._origins:
            self._origins = origins
            self._inner = (
                CORSMiddleware(
                    self._app,
                    allow_origins=origins,
                    allow_methods=_METHODS,
                    allow_headers=_HEADERS,
                    expose_headers=_EXPOSED,
                )
                if origins
                else self._app
            )
        await self._inner(scope, receive, send)


def _state(scope: Scope, name: str) -> Any:
    """Something of the app's state, for a request."""
    return getattr(scope["app"].state, name) if scope["type"] == "http" else None
