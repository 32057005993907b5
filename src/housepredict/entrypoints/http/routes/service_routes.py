"""Routes for operators: health, readiness and metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.errors import HousepredictError, RepositoryUnavailable
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.answers import (
    AliveAnswer,
    BacklogAnswer,
    ChecksPart,
    HealthAnswer,
    ModelCheckPart,
    PredictionsCheckPart,
    ReadinessAnswer,
)
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.requests import application_of
from housepredict.entrypoints.http.responses import HEADERS, json_response
from housepredict.entrypoints.http.service_state import running_service, state_of
from housepredict.entrypoints.json_documents import ABSENT, document

HEALTH = openapi.Resource("Service", openapi.named(HealthAnswer, AliveAnswer, ReadinessAnswer))
METRICS = openapi.Resource("Service")
_registering = Lock()


def in_service(application: Application) -> ModelVersion | None:
    """Return the model version in service, or None if there isn't one."""
    try:
        return application.live_model.current().version
    except HousepredictError:
        return None


def readiness_checks(application: Application) -> ChecksPart:
    """Check whether estimates can be made and recorded. Failed checks include a reason."""
    live = application.live_model
    model: dict[str, Any] = {"generation": ABSENT}
    spool: Any = None
    if serving := live.serving:
        refused = str(live.refusal) if live.refusal else None
        model = {"model_version": serving.version.name, "generation": serving.generation, "refused": refused}
    with suppress(RepositoryUnavailable):
        if backlog := application.records.backlog():
            spool = document(backlog, BacklogAnswer, reason=backlog.reason)
    return ChecksPart(
        model=ModelCheckPart(**_check(live.current), **model),
        predictions=PredictionsCheckPart(**_check(application.records.check), spool=spool),
    )


def _check(check: Callable[[], object]) -> dict[str, Any]:
    try:
        check()
    except HousepredictError as error:
        return {"ok": False, "reason": str(error)}
    return {"ok": True}


@HEALTH.route(
    "GET /health",
    "getHealth",
    openapi.Answer("The process is running.", HealthAnswer),
)
def health(request: Request) -> Response:
    """Check the service's health.

    The HTTP status is always 200. Another status could trigger a restart, which wouldn't help a degraded service.
    """
    application = application_of(request)
    version = in_service(application)
    answer = HealthAnswer(
        status="healthy" if readiness_checks(application).all_passed else "degraded",
        model_loaded=version is not None,
        model_version=version.name if version else None,
    )
    return json_response(document(answer))


@HEALTH.route(
    "GET /health/live",
    "getLiveness",
    openapi.Answer("The process is running.", AliveAnswer),
    faults=["internal-error"],
)
async def live(_request: Request) -> Response:
    """Check that the process is alive."""
    return json_response(document(AliveAnswer(status="alive")))


@HEALTH.route(
    "GET /health/ready",
    "getReadiness",
    openapi.Answer("Estimates can be made and recorded.", ReadinessAnswer),
    openapi.Answer("A health check failed, or the service is stopping.", ReadinessAnswer, status=503),
)
def ready(request: Request) -> Response:
    """Check that estimates can be made and recorded.

    During the drain period, the HTTP status is 503, although the service still responds to requests.
    """
    checks = readiness_checks(application_of(request))
    status: Literal["ready", "not ready", "stopping"] = "ready" if checks.all_passed else "not ready"
    if state_of(request.app).stopping:
        status = "stopping"
    return json_response(document(ReadinessAnswer(status=status, checks=checks)), 200 if status == "ready" else 503)


@METRICS.route(
    "GET /metrics",
    "getMetrics",
    openapi.Answer(
        "Metrics for requests, estimates, storage and the model, in the Prometheus or OpenMetrics text format.",
        openapi.TEXT,
        "text/plain",
        also={"application/openmetrics-text": openapi.TEXT},
    ),
)
def metrics(request: Request) -> Response:
    """Get metrics for Prometheus."""
    # Imported by the first request for metrics, so that the service starts sooner.
    from prometheus_client.exposition import choose_encoder

    from housepredict.entrypoints.http.metrics import registry_of

    service = running_service(request.app)
    with _registering:
        if service.registry is None:
            service.registry = registry_of(service.application, service.observer.meter)
    write, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(write(service.registry), headers=HEADERS, media_type=media_type)
