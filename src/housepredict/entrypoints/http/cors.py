"""CORS, for the origins that the settings name."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS = ("DELETE", "GET", "POST")
_HEADERS = ("Authorization", "Content-Encoding", "Idempotency-Key", "Inference-Header-Content-Length", "Prefer")
_EXPOSED = ("Inference-Header-Content-Length", "Link", "Location", "Preference-Applied", "Retry-After")


class Cors:
    """Starlette's CORS middleware for the origins in the app's state, which are known when its lifespan has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._origins: Sequence[str] = ()
        self._inner: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, with what other origins' pages have to be told."""
        origins: Sequence[str] = scope["app"].state.cors_origins if scope["type"] == "http" else ()
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
