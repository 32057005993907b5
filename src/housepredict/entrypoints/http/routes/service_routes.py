"""How the service fares: whether it is alive, whether it is ready, and what it counts."""

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
    """The version in service, if there is one."""
    try:
        return application.live_model.current().version
    except HousepredictError:
        return None


def readiness_checks(application: Application) -> ChecksPart:
    """Whether an estimate can be given and recorded now, and if not, why."""
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


def _check(look: Callable[[], object]) -> dict[str, Any]:
    try:
        look()
    except HousepredictError as error:
        return {"ok": False, "reason": str(error)}
    return {"ok": True}


@HEALTH.route(
    "GET /health",
    "getHealth",
    openapi.Answer("The process answers.", HealthAnswer),
)
def health(request: Request) -> Response:
    """Health check.

    200 as long as the process answers: a restart would repair nothing else.
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
    openapi.Answer("The process answers.", AliveAnswer),
    faults=["internal-error"],
)
async def live(_request: Request) -> Response:
    """Whether the service is alive."""
    return json_response(document(AliveAnswer(status="alive")))


@HEALTH.route(
    "GET /health/ready",
    "getReadiness",
    openapi.Answer("An estimate could be given and recorded now.", ReadinessAnswer),
    openapi.Answer("It could not, or the service is about to stop.", ReadinessAnswer, status=503),
)
def ready(request: Request) -> Response:
    """Whether it can estimate and remember, and if not, why.

    503 during the drain period, too, when requests are still served.
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
        "Metrics of requests, estimates, storage and the model, in Prometheus's text format or OpenMetrics.",
        openapi.TEXT,
        "text/plain",
        also={"application/openmetrics-text": openapi.TEXT},
    ),
)
def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    # loaded with the first request for them: most of the time that this would add to a start
    from prometheus_client.exposition import choose_encoder

    from housepredict.entrypoints.http.metrics import registry_of

    service = running_service(request.app)
    with _registering:
        if service.registry is None:
            service.registry = registry_of(service.application, service.observer.meter)
    write, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(write(service.registry), headers=HEADERS, media_type=media_type)
