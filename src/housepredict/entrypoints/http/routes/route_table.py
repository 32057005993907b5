"""The table of all routes, and the routes that describe the API."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from housepredict.entrypoints.answers import ExampleRequestPart, IndexAnswer
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.requests import VARY, application_of, prefers_html
from housepredict.entrypoints.http.responses import LAB_EXAMPLE, cached_response, encode_json, example, json_response
from housepredict.entrypoints.http.routes.model_routes import MODELS
from housepredict.entrypoints.http.routes.page_routes import ASSETS, home
from housepredict.entrypoints.http.routes.predict_routes import ESTIMATES
from housepredict.entrypoints.http.routes.prediction_routes import DRIFT, PREDICTIONS
from housepredict.entrypoints.http.routes.sale_routes import SALES
from housepredict.entrypoints.http.routes.service_routes import HEALTH, METRICS, in_service
from housepredict.entrypoints.http.routes.training_routes import TRAININGS
from housepredict.entrypoints.http.v2.inference_routes import INFERENCE
from housepredict.entrypoints.json_documents import document
from housepredict.version import __version__

INDEX = openapi.Resource("Service", openapi.named(IndexAnswer))
API = openapi.Resource("Service")
_CACHED: openapi.Json = {"ETag": openapi.TEXT, "Cache-Control": openapi.TEXT}
_UNCHANGED = openapi.Answer("The client's copy is up to date.", status=304, headers=_CACHED, always=("ETag",))
_TAG = openapi.header("If-None-Match", openapi.TEXT, "The ETag of the client's copy.")


@INDEX.route(
    "GET /",
    "getIndex",
    openapi.Answer(
        "All routes, and an example request. Browsers get the home page instead.",
        IndexAnswer,
        also={openapi.HTML: openapi.TEXT},
        headers={**openapi.VARYING, **openapi.PAGE_HEADERS},
        always=["Vary"],
    ),
)
def index(request: Request) -> Response:
    """List all routes (browsers get the home page)."""
    application = application_of(request)
    version = in_service(application)
    if prefers_html(request.headers):
        return home(request, application, version)
    body = example(version.schema) if version else dict(LAB_EXAMPLE)
    answer = IndexAnswer(
        title="House Price Prediction API",
        version=__version__,
        endpoints={name: operation.summary_for(version) for name, operation in OPERATIONS.items()},
        example_request=ExampleRequestPart(url="/predict", method="POST", body=body),
    )
    return json_response(document(answer), headers=VARY)


@API.route(
    "GET /openapi.json",
    "getOpenApi",
    openapi.Answer("The OpenAPI document.", {"type": "object"}, headers=_CACHED, always=("ETag",)),
    _UNCHANGED,
    parameters=[_TAG],
)
def api(request: Request) -> Response:
    """Get this OpenAPI document."""
    return cached_response(request, encode_json(_document(request)), "application/json")


@API.route(
    "GET /docs",
    "getDocs",
    openapi.Answer("The page.", openapi.TEXT, "text/html", headers=_CACHED, always=("ETag",)),
    _UNCHANGED,
    parameters=[_TAG],
)
def docs(request: Request) -> Response:
    """Get the API reference as a page."""
    from housepredict.entrypoints.pages.api_reference import POLICY, api_page

    page = api_page(_document(request)).encode()
    return cached_response(request, page, "text/html", {"Content-Security-Policy": POLICY})


def _document(request: Request) -> dict[str, Any]:
    # Imported by the first request for the document, so that the service starts sooner.
    from housepredict.entrypoints.http.openapi_document import openapi_document

    application = application_of(request)
    root_path = request.scope.get("root_path", "")
    return openapi_document(_DESCRIBED, in_service(application), application.settings, root_path)


_LISTED = (INDEX, ASSETS, API, HEALTH, ESTIMATES, PREDICTIONS, MODELS, DRIFT, METRICS, SALES, TRAININGS, *INFERENCE)
"""The resources in the order in which `GET /` lists them."""
_DESCRIBED = (ESTIMATES, DRIFT, PREDICTIONS, *INFERENCE, SALES, MODELS, TRAININGS, INDEX, ASSETS, HEALTH, METRICS, API)
"""The resources in the order in which the OpenAPI document describes them."""
OPERATIONS = {name: operation for resource in _LISTED for name, operation in resource.operations.items()}
"""All operations, by method and path, such as `GET /health`."""
# Sorted so that paths without parameters take precedence.
ROUTES = sorted((route for resource in _LISTED for route in resource.routes), key=lambda route: "{" in route.path)
