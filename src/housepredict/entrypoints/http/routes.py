"""The routes of the tutorial's service, and what they do beyond it.

The domain is synchronous: Starlette runs the routes that are plain functions in worker threads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict import __version__
from housepredict.domain.errors import HousepredictError, RepositoryUnavailable
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.bootstrap import Application
from housepredict.entrypoints.http.answers import (
    LAB_EXAMPLE,
    backlog_document,
    example,
    json_response,
    recorded_document,
)
from housepredict.entrypoints.http.drift import DRIFT_ROUTES
from housepredict.entrypoints.http.metrics import METRICS_ROUTES
from housepredict.entrypoints.http.models import MODEL_ROUTES
from housepredict.entrypoints.http.predict import EstimateHouses
from housepredict.entrypoints.http.queries import page
from housepredict.entrypoints.http.records import RECORD_ROUTES
from housepredict.entrypoints.http.requests import application_of
from housepredict.entrypoints.http.sales import SALES_ROUTES
from housepredict.entrypoints.http.trainings import TRAINING_ROUTES

_ENDPOINTS = {
    "GET /": "API documentation",
    "GET /health": "Health check",
    "GET /health/live": "Whether the service is alive",
    "GET /health/ready": "Whether it can estimate and remember, and if not, why",
    "POST /predict": "Predict house price (requires: {required}), or those of a list of houses (?explain=true)",
    "GET /predictions": "Get recent predictions, newest first (?limit=10&before=ID)",
    "GET /predictions/{id}": "Get one prediction",
    "DELETE /predictions/{id}": "Erase a prediction and the sales recorded for it",
    "GET /models": "The model versions, the promoted one, and what each process serves",
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
}


def index(request: Request) -> Response:
    """What there is, and a request to try."""
    version = _in_service(application_of(request))
    body = example(version.schema) if version else dict(LAB_EXAMPLE)
    features = version.schema.features if version else ()
    required = ", ".join(each.name for each in features if each.required) or "a model"
    return json_response(
        {
            "title": "House Price Prediction API",
            "version": __version__,
            "endpoints": {route: about.replace("{required}", required) for route, about in _ENDPOINTS.items()},
            "example_request": {"url": "/predict", "method": "POST", "body": body},
        }
    )


def health(request: Request) -> Response:
    """200 as long as the service is alive: no restart would mend what else is wrong."""
    application = application_of(request)
    version = _in_service(application)
    return json_response(
        {
            "status": "healthy" if _all_passed(_checks(application)) else "degraded",
            "model_loaded": version is not None,
            "model_version": version.name if version else None,
        }
    )


async def live(_request: Request) -> Response:
    """200: the event loop turns."""
    return json_response({"status": "alive"})


def ready(request: Request) -> Response:
    """200 if an estimate could be given and remembered now, else 503 with the reason; 503 before the service stops."""
    checks = _checks(application_of(request))
    status = "stopping" if request.app.state.stopping else "ready" if _all_passed(checks) else "not ready"
    return json_response({"status": status, "checks": checks}, 200 if status == "ready" else 503)


def predictions(request: Request) -> Response:
    """What was estimated, newest first, with a link to what is older."""
    limit, before = page(request.query_params)
    found = application_of(request).predict.recent(limit, before)
    older = f'<{quote(request.scope["path"])}?limit={limit}&before={found[-1].id}>; rel="next"' if found else ""
    headers = {"Link": older} if len(found) == limit else {}
    document: dict[str, Any] = {"predictions": [recorded_document(each) for each in found]}
    if backlog := application_of(request).backlog():
        document["behind"] = backlog_document(backlog)
    return json_response(document, headers=headers)


def _in_service(application: Application) -> ModelVersion | None:
    try:
        return application.live_model.current().version
    except HousepredictError:
        return None


def _checks(application: Application) -> dict[str, dict[str, Any]]:
    checks = {"model": _check(application.live_model.current), "predictions": _check(application.predictions.check)}
    if checks["model"]["ok"] and (refusal := application.live_model.refusal):
        checks["model"]["refused"] = str(refusal)
    with suppress(RepositoryUnavailable):
        if backlog := application.backlog():
            checks["predictions"]["behind"] = backlog_document(backlog) | {"reason": backlog.reason}
    return checks


def _check(look: Callable[[], object]) -> dict[str, Any]:
    try:
        look()
    except HousepredictError as error:
        return {"ok": False, "reason": str(error)}
    return {"ok": True}


def _all_passed(checks: dict[str, dict[str, Any]]) -> bool:
    return all(check["ok"] for check in checks.values())


ROUTES = (
    Route("/", index),
    Route("/health", health),
    Route("/health/live", live),
    Route("/health/ready", ready),
    Route("/predict", EstimateHouses(), methods=["POST"]),
    Route("/predictions", predictions),
    *RECORD_ROUTES,
    *MODEL_ROUTES,
    *DRIFT_ROUTES,
    *METRICS_ROUTES,
    *SALES_ROUTES,
    *TRAINING_ROUTES,
)
