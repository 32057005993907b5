"""The route that tells how far houses have moved from those that the version in service was trained on."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.entrypoints.drift_report import drift_document
from housepredict.entrypoints.http.answers import json_response
from housepredict.entrypoints.http.requests import application_of


async def drift(request: Request) -> Response:
    """The drift over recent predictions, as of now."""
    application = application_of(request)
    # it reads 10,000 predictions: one at a time leaves estimates room, and other routes their threads
    async with request.app.state.reviewing:
        review = await run_in_threadpool(application.review_drift)
    return json_response(drift_document(review))


DRIFT_ROUTES = (Route("/drift", drift),)
