"""The routes of the tutorial's service, and what they do beyond it.

The domain is synchronous: Starlette runs the routes that are plain functions in worker threads.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.answer_documents import backlog_document, drift_document, recorded_document
from housepredict.entrypoints.csv_tables import csv_of
from housepredict.entrypoints.http.access import require_access
from housepredict.entrypoints.http.problems import address
from housepredict.entrypoints.http.queries import page
from housepredict.entrypoints.http.readiness import all_passed, in_service, readiness_checks
from housepredict.entrypoints.http.requests import CSV, VARY, application_of, prefers_csv, prefers_html, response
from housepredict.entrypoints.http.responses import (
    HEADERS,
    LAB_EXAMPLE,
    cached_response,
    encoded,
    example,
    json_response,
)
from housepredict.entrypoints.http.routes.model_routes import MODEL_ROUTES
from housepredict.entrypoints.http.routes.page_routes import PAGE_ROUTES, home
from housepredict.entrypoints.http.routes.predict_routes import PREDICT
from housepredict.entrypoints.http.routes.sale_routes import SALES_ROUTES
from housepredict.entrypoints.http.routes.training_routes import TRAINING_ROUTES
from housepredict.entrypoints.http.service_state import running_service, state_of
from housepredict.entrypoints.http.v2.inference_routes import V2_ENDPOINTS, V2_ROUTES
from housepredict.version import __version__

_registering = Lock()

_ENDPOINTS = {
    "GET /": "API documentation; for browsers, a page to estimate with",
    "GET /assets/{digest}/{name}": "What the page loads",
    "GET /openapi.json": "This API as an OpenAPI document",
    "GET /docs": "This API as a page to read",
    "GET /health": "Health check",
    "GET /health/live": "Whether the service is alive",
    "GET /health/ready": "Whether it can estimate and remember, and if not, why",
    "POST /predict": "Predict house price (requires: {required}), or those of a list of houses (?explain=true)",
    "GET /predictions": "Get recent predictions, newest first (?limit=10&before=ID)",
    "GET /predictions/{id}": "Get one prediction",
    "DELETE /predictions/{id}": "Erase a prediction and the sales recorded for it",
    "GET /models": "The model versions, and the promoted one",
    "GET /models/{name}": "One model version, with how it came about",
    "POST /models/{name}/promote": "Let another version serve",
    "POST /models/rollback": "Go back to the version that was promoted before",
    "GET /drift": "How far houses and estimates have moved from what the model was trained on",
    "GET /metrics": "Metrics for Prometheus",
    "POST /predictions/{id}/sale": 'Record what the house of a prediction sold for: {"price": …, "date": "YYYY-MM-DD"}',
    "GET /predictions/{id}/sale": "Get the sale of a prediction, and what was recorded before it",
    "POST /sales": "Record sales: one, a list, or CSV (columns prediction, price, date)",
    "GET /accuracy": "Measure the estimates by the sales that came back (?since=YYYY-MM-DD&until=YYYY-MM-DD)",
    "POST /train": "Retrain the model on the sales that it was trained on, or train one on those that are sent",
    "GET /trainings": "Get recent trainings, newest first (?limit=10)",
    "GET /trainings/{id}": "Get a training: how far it is, and what came of it",
    "DELETE /trainings/{id}": "Cancel a training",
    **V2_ENDPOINTS,
}


def index(request: Request) -> Response:
    """What there is, and a request to try; the page for a person's browser."""
    application = application_of(request)
    version = in_service(application)
    if prefers_html(request.headers):
        return home(request, application, version)
    body = example(version.schema) if version else dict(LAB_EXAMPLE)
    return json_response(
        {
            "title": "House Price Prediction API",
            "version": __version__,
            "endpoints": _endpoints(version),
            "example_request": {"url": "/predict", "method": "POST", "body": body},
        },
        headers=VARY,
    )


def _endpoints(version: ModelVersion | None) -> dict[str, str]:
    features = version.schema.features if version else ()
    required = ", ".join(each.name for each in features if each.required) or "a model"
    return {route: about.replace("{required}", required) for route, about in _ENDPOINTS.items()}


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
    from housepredict.entrypoints.http.openapi.document import document

    application = application_of(request)
    version = in_service(application)
    return document(version, application.settings, request.scope.get("root_path", ""), _endpoints(version))


def health(request: Request) -> Response:
    """200 as long as the service is alive: no restart would mend what else is wrong."""
    application = application_of(request)
    version = in_service(application)
    return json_response(
        {
            "status": "healthy" if all_passed(readiness_checks(application)) else "degraded",
            "model_loaded": version is not None,
            "model_version": version.name if version else None,
        }
    )


async def live(_request: Request) -> Response:
    """200: the event loop turns."""
    return json_response({"status": "alive"})


def ready(request: Request) -> Response:
    """200 if an estimate could be given and remembered now, else 503 with the reason; 503 before the service stops."""
    checks = readiness_checks(application_of(request))
    status = "stopping" if state_of(request.app).stopping else "ready" if all_passed(checks) else "not ready"
    return json_response({"status": status, "checks": checks}, 200 if status == "ready" else 503)


def predictions(request: Request) -> Response:
    """What was estimated, newest first, with a link to what is older."""
    limit, before = page(request.query_params)
    found, backlog = application_of(request).records.recent_and_backlog(limit, before)
    older = f'<{address(request, "/predictions")}?limit={limit}&before={found[-1].id}>; rel="next"' if found else ""
    headers = {"Link": older} if len(found) == limit else {}
    if prefers_csv(request.headers):
        return response(csv_of(found), request.headers, CSV, headers)
    document: dict[str, Any] = {"predictions": [recorded_document(each) for each in found]}
    if backlog:
        document["spool"] = backlog_document(backlog)
    return response(encoded(document), request.headers, "application/json", headers)


async def prediction(request: Request) -> Response:
    """One prediction, as in the list of them; or it is erased."""
    records, id_ = application_of(request).records, request.path_params["id"]
    if request.method != "DELETE":
        return json_response(recorded_document(await run_in_threadpool(records.one, id_)))
    require_access(request)
    await run_in_threadpool(records.erase, [id_])
    return Response(status_code=204, headers=HEADERS)


async def drift(request: Request) -> Response:
    """The drift over recent predictions, as of now."""
    service = running_service(request.app)
    async with service.reviewing:
        review = await run_in_threadpool(service.application.review_drift)
    return json_response(drift_document(review))


def metrics(request: Request) -> Response:
    """The metrics, in Prometheus's text format or that of OpenMetrics."""
    # loaded with the first request for them: most of the time that this would add to a start
    from prometheus_client.exposition import choose_encoder

    from housepredict.entrypoints.http.metrics import registry_of

    service = running_service(request.app)
    with _registering:
        if service.registry is None:
            service.registry = registry_of(service.application, service.observer.meter)
    write, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(write(service.registry), headers=HEADERS, media_type=media_type)


ROUTES = (
    Route("/", index),
    Route("/openapi.json", openapi),
    Route("/docs", docs),
    Route("/health", health),
    Route("/health/live", live),
    Route("/health/ready", ready),
    Route("/predict", PREDICT, methods=["POST"]),
    Route("/predictions", predictions),
    *PAGE_ROUTES,
    Route("/predictions/{id}", prediction, methods=["GET", "DELETE"]),
    *MODEL_ROUTES,
    Route("/drift", drift),
    Route("/metrics", metrics),
    *SALES_ROUTES,
    *TRAINING_ROUTES,
    *V2_ROUTES,
)
