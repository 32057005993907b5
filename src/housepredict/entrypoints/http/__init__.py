"""The HTTP API: a Starlette app that runs standalone or is mounted in another app."""

from __future__ import annotations

from importlib.util import find_spec

from housepredict.domain.errors import MissingExtra

if find_spec("starlette") is None:
    raise MissingExtra.named("serve", "Serving over HTTP")
