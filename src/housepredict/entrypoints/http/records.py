"""The routes for single predictions that are remembered."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.entrypoints.http.answers import json_response, recorded_document
from housepredict.entrypoints.http.requests import application_of


def prediction(request: Request) -> Response:
    """One prediction, as in the list of them."""
    return json_response(recorded_document(application_of(request).records.one(request.path_params["id"])))


RECORD_ROUTES = (Route("/predictions/{id}", prediction),)
