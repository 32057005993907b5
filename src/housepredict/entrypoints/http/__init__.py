"""The HTTP API: a Starlette app, to serve on its own or to mount in another app."""

from __future__ import annotations

from importlib.util import find_spec

from housepredict.domain.errors import MissingExtra

if find_spec("starlette") is None:
    raise MissingExtra.named("serve", "Serving over HTTP")
