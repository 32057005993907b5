"""The route that tells how far houses have moved from those that the version in service was trained on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.entrypoints.drift_report import drift_document
from housepredict.entrypoints.http.answers import json_response
from housepredict.entrypoints.http.requests import application_of


def drift(request: Request) -> Response:
    """The drift over recent predictions, as of now."""
    return json_response(drift_document(application_of(request).review_drift()))


ROUTES = (Route("/drift", drift),)
