"""The routes of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.features import FeatureSchema
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import InService
from housepredict.entrypoints.http.batching import JOB, EstimateJob, Estimator
from housepredict.entrypoints.http.problems import CLIENT_CLOSED_REQUEST, PROBLEM, Problem, problem_of
from housepredict.entrypoints.http.readiness import all_passed, readiness_checks
from housepredict.entrypoints.http.requests import application_of, read_body, response
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.routes.predict_routes import FEW, SHORT
from housepredict.entrypoints.http.service_state import running_service, state_of
from housepredict.entrypoints.http.v2.inference_requests import (
    MODEL,
    OUTPUTS,
    Inference,
    answer_to,
    datatype_of,
    in_tensors,
    read_inference,
)
from housepredict.version import __version__

Endpoint = Callable[[Request], Awaitable[Response]]

_HEADER_LENGTH = "Inference-Header-Content-Length"
_ANY_SIZE = [-1]
_MEDIA_TYPES = ("", "application/json", "application/octet-stream")  # Triton's own client sends none

V2_ENDPOINTS = {
    "GET /v2": "Open Inference Protocol: the server",
    "GET /v2/health/live": "Open Inference Protocol: whether the service is alive",
    "GET /v2/health/ready": "Open Inference Protocol: whether it can estimate and remember",
    "GET /v2/models/{name}": "Open Inference Protocol: the inputs and outputs of the model housepredict",
    "GET /v2/models/{name}/ready": "Open Inference Protocol: whether it can estimate and remember",
    "POST /v2/models/{name}/infer": "Open Inference Protocol: estimate houses, a tensor a feature",
    "GET /v2/models/{name}/versions/{version}": "The same of the version in service, by its name",
    "GET /v2/models/{name}/versions/{version}/ready": "The same of the version in service, by its name",
    "POST /v2/models/{name}/versions/{version}/infer": "The same of the version in service, by its name",
}


class Refusal(Exception):
    """A request that only this protocol knows, and refuses."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def in_its_form(endpoint: Endpoint) -> Endpoint:
    """The endpoint, whose errors are told as the protocol wants it: `{"error": …}`, with every violation."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)  # which nobody is there to read
        except Refusal as refusal:
            return json_response({"error": str(refusal)}, refusal.status)
        except Exception as error:  # noqa: BLE001  # every failure has its answer
            problem = request.scope[PROBLEM] = problem_of(request, error)
            return await run_in_threadpool(_told, problem)

    return answered


def _told(problem: Problem) -> Response:
    """A problem; there is no status but 400 for houses that break rules."""
    error = "; ".join(each.describe() for each in problem.violations) or problem.detail
    return json_response({"error": error}, 400 if problem.violations else problem.status, problem.headers)


async def server(_request: Request) -> Response:
    """What serves, and which extensions of the protocol it knows."""
    return json_response({"name": MODEL, "version": __version__, "extensions": ["binary_tensor_data"]})


async def live(_request: Request) -> Response:
    """200: the event loop turns."""
    return json_response({"live": True})


async def ready(request: Request) -> Response:
    """200 if an estimate could be given and remembered now, else 503."""
    is_ready = await run_in_threadpool(_is_ready, request)
    return json_response({"ready": is_ready}, 200 if is_ready else 503)


async def model_ready(request: Request) -> Response:
    """The same of the model, which has to be the one that is named."""
    is_ready = await run_in_threadpool(_is_ready, request)
    _require_model(request, running_service(request.app).estimator.in_service().version if is_ready else None)
    return json_response({"name": MODEL, "ready": is_ready}, 200 if is_ready else 503)


def _is_ready(request: Request) -> bool:
    return not state_of(request.app).stopping and all_passed(readiness_checks(application_of(request)))


async def model(request: Request) -> Response:
    """The model's inputs and outputs."""
    version = (await run_in_threadpool(application_of(request).live_model.current)).version
    _require_model(request, version)
    return json_response(
        {
            "name": MODEL,
            "versions": [version.name],
            "platform": f"housepredict_{version.algorithm}",
            "inputs": _inputs(version.schema),
            "outputs": [
                {"name": name, "datatype": datatype, "shape": _ANY_SIZE} for name, (datatype, _) in OUTPUTS.items()
            ],
        }
    )


def _inputs(schema: FeatureSchema) -> list[dict[str, Any]]:
    return [
        {
            "name": feature.name,
            "datatype": datatype_of(feature.kind),
            "shape": _ANY_SIZE,
            "parameters": {"kind": feature.kind, "required": feature.required},
        }
        for feature in schema.features
    ]


async def infer(request: Request) -> Response:
    """Estimate houses, and remember it before the response leaves: as `POST /predict` does."""
    estimator = running_service(request.app).estimator
    serving = estimator.in_service()
    _require_model(request, serving.version)
    _require_media_type(request.headers)
    body = await read_body(request.headers, request.receive, estimator.max_body, estimator.body_timeout)
    is_short = len(body) <= SHORT
    given = (estimator, serving, body, request.headers.get(_HEADER_LENGTH))
    inference, job = _read(*given) if is_short else await run_in_threadpool(_read, *given)
    request.scope[JOB] = job
    try:
        predictions = await estimator.estimate(job)
    except InvalidHouses as error:
        raise in_tensors(error) from None

    def respond() -> Response:
        content, head = answer_to(inference.id, inference.outputs, serving.version.name, predictions)
        if head is None:
            return response(content, request.headers, "application/json")
        return response(content, request.headers, "application/octet-stream", {_HEADER_LENGTH: str(head)})

    return respond() if is_short and len(predictions) <= FEW else await run_in_threadpool(respond)


def _read(
    estimator: Estimator, serving: InService, body: bytes, header_length: str | None
) -> tuple[Inference, EstimateJob]:
    inference = read_inference(serving.version.schema, body, header_length, estimator.max_batch)
    try:
        return inference, estimator.check(inference.houses, serving)
    except InvalidHouses as error:
        raise in_tensors(error) from None


def _require_model(request: Request, version: ModelVersion | None) -> None:
    """Raise a Refusal unless the path names the model, and the version if it names one; any where none serves."""
    name, asked = request.path_params["name"], request.path_params.get("version")
    if name != MODEL:
        raise Refusal(f"there is no model {name!r} here, but {MODEL!r}", 404)
    if asked is not None and version is not None and asked != version.name:
        raise Refusal(f"version {asked!r} of {MODEL!r} is not in service, but {version.name!r}", 404)


def _require_media_type(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise Refusal("send JSON as application/json, or with tensors in binary as application/octet-stream", 415)


_MODEL = "/v2/models/{name}"
_VERSION = "/v2/models/{name}/versions/{version}"

V2_ROUTES = (
    Route("/v2", in_its_form(server)),
    Route("/v2/health/live", in_its_form(live)),
    Route("/v2/health/ready", in_its_form(ready)),
    *(
        route
        for path in (_MODEL, _VERSION)
        for route in (
            Route(path, in_its_form(model)),
            Route(f"{path}/ready", in_its_form(model_ready)),
            Route(f"{path}/infer", in_its_form(infer), methods=["POST"]),
        )
    ),
)
