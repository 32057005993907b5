"""The table of all routes, and the routes that tell of them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from housepredict.entrypoints.answers import (
    AliveAnswer,
    ExampleRequestPart,
    HealthAnswer,
    IndexAnswer,
    ReadinessAnswer,
)
from housepredict.entrypoints.http.openapi.operations import (
    HTML,
    OF_PAGE,
    VARYING,
    Answer,
    DocumentedRoute,
    Operation,
    header,
    operations_of,
)
from housepredict.entrypoints.http.openapi.schemas import TEXT, Json, named
from housepredict.entrypoints.http.problems import ProblemAnswer, ViolationAnswer
from housepredict.entrypoints.http.requests import VARY, application_of, prefers_html
from housepredict.entrypoints.http.responses import LAB_EXAMPLE, cached_response, encoded, example, json_response
from housepredict.entrypoints.http.routes import (
    model_routes,
    predict_routes,
    prediction_routes,
    sale_routes,
    training_routes,
)
from housepredict.entrypoints.http.routes.page_routes import ASSET_ROUTES, home
from housepredict.entrypoints.http.routes.service_routes import HEALTH_ROUTES, METRIC_ROUTES, in_service
from housepredict.entrypoints.http.v2 import inference_routes
from housepredict.entrypoints.json_documents import document
from housepredict.version import __version__


def index(request: Request) -> Response:
    """What there is, and a request to try; the page for a person's browser."""
    application = application_of(request)
    version = in_service(application)
    if prefers_html(request.headers):
        return home(request, application, version)
    body = example(version.schema) if version else dict(LAB_EXAMPLE)
    answer = IndexAnswer(
        title="House Price Prediction API",
        version=__version__,
        endpoints={name: operation.summary_for(version) for name, operation in operations_of(_LISTED).items()},
        example_request=ExampleRequestPart(url="/predict", method="POST", body=body),
    )
    return json_response(document(answer), headers=VARY)


def openapi(request: Request) -> Response:
    """This API as an OpenAPI document."""
    return cached_response(request, encoded(_document(request)), "application/json")


def docs(request: Request) -> Response:
    """This API as a page to read."""
    from housepredict.entrypoints.pages.api_reference import POLICY, api_page

    page = api_page(_document(request)).encode()
    return cached_response(request, page, "text/html", {"Content-Security-Policy": POLICY})


def _document(request: Request) -> dict[str, Any]:
    # loaded with the first request for it: a start would take longer for something that few ask for
    from housepredict.entrypoints.http.openapi.document import openapi_document

    application = application_of(request)
    root_path = request.scope.get("root_path", "")
    return openapi_document(_DESCRIBED, _SCHEMAS, in_service(application), application.settings, root_path)


_CACHED: Json = {"ETag": TEXT, "Cache-Control": TEXT}
_UNCHANGED = Answer("It is still what was sent before.", headers=_CACHED, always=("ETag",))
_TAG = header("If-None-Match", TEXT, "The ETag of what is there already.")

_INDEX_ROUTES = (
    DocumentedRoute(
        "/",
        index,
        get=Operation(
            "getIndex",
            "Service",
            "API documentation; for browsers, a page to estimate with",
            {
                200: Answer(
                    "What there is, and a request to try; for browsers a page to estimate with.",
                    IndexAnswer,
                    also={HTML: TEXT},
                    headers={**VARYING, **OF_PAGE},
                    always=["Vary"],
                )
            },
        ),
    ),
    *ASSET_ROUTES,
)
_API_ROUTES = (
    DocumentedRoute(
        "/openapi.json",
        openapi,
        get=Operation(
            "getOpenApi",
            "Service",
            "This API as an OpenAPI document",
            {200: Answer("The document.", {"type": "object"}, headers=_CACHED, always=("ETag",)), 304: _UNCHANGED},
            parameters=[_TAG],
        ),
    ),
    DocumentedRoute(
        "/docs",
        docs,
        get=Operation(
            "getDocs",
            "Service",
            "This API as a page to read",
            {200: Answer("The page.", TEXT, "text/html", headers=_CACHED, always=("ETag",)), 304: _UNCHANGED},
            parameters=[_TAG],
        ),
    ),
)

_LISTED = (
    *_INDEX_ROUTES,
    *_API_ROUTES,
    *HEALTH_ROUTES,
    *predict_routes.PREDICT_ROUTES,
    *prediction_routes.PREDICTION_ROUTES,
    *model_routes.MODEL_ROUTES,
    *prediction_routes.DRIFT_ROUTES,
    *METRIC_ROUTES,
    *sale_routes.SALE_ROUTES,
    *training_routes.TRAINING_ROUTES,
    *inference_routes.V2_ROUTES,
)
"""The routes in the order of `GET /`."""

_DESCRIBED = (
    *predict_routes.PREDICT_ROUTES,
    *prediction_routes.DRIFT_ROUTES,
    *prediction_routes.PREDICTION_ROUTES,
    *inference_routes.V2_ROUTES,
    *sale_routes.SALE_ROUTES,
    *model_routes.MODEL_ROUTES,
    *training_routes.TRAINING_ROUTES,
    *_INDEX_ROUTES,
    *HEALTH_ROUTES,
    *METRIC_ROUTES,
    *_API_ROUTES,
)
"""The routes in the order of the OpenAPI document."""

_SCHEMAS = {
    **named(ProblemAnswer, ViolationAnswer),
    **predict_routes.SCHEMAS,
    **prediction_routes.SCHEMAS,
    **inference_routes.SCHEMAS,
    **sale_routes.SCHEMAS,
    **model_routes.SCHEMAS,
    **training_routes.SCHEMAS,
    **named(IndexAnswer, HealthAnswer, AliveAnswer, ReadinessAnswer),
}

# paths without parameters take precedence
ROUTES = sorted(_LISTED, key=lambda route: "{" in route.path)
OPERATIONS = operations_of(ROUTES)
"""Every operation, by method and path."""
