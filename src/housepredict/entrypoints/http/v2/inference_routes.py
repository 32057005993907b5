"""The routes of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any

from attrs import evolve
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import InService
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.batching import JOB, EstimateJob, Estimator
from housepredict.entrypoints.http.openapi import H
from housepredict.entrypoints.http.problems import CLIENT_CLOSED_REQUEST, PROBLEM, Problem, problem_of
from housepredict.entrypoints.http.requests import application_of, compressed_response, read_body
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.routes.predict_routes import MAX_LOOP_BYTES, MAX_LOOP_HOUSES
from housepredict.entrypoints.http.routes.service_routes import readiness_checks
from housepredict.entrypoints.http.service_state import running_service, state_of
from housepredict.entrypoints.http.v2.inference_answers import (
    MODEL,
    Datatype,
    InferenceErrorAnswer,
    InferenceLivenessAnswer,
    InferenceModelAnswer,
    InferenceModelReadinessAnswer,
    InferenceReadinessAnswer,
    InferenceResponseAnswer,
    InferenceServerAnswer,
    OutputName,
    encode_answer,
)
from housepredict.entrypoints.http.v2.inference_requests import (
    Inference,
    in_tensors,
    read_inference,
)
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.settings import Settings
from housepredict.version import __version__

Endpoint = Callable[[Request], Awaitable[Response]]

_HEADER_LENGTH = "Inference-Header-Content-Length"
_MEDIA_TYPES = ("", "application/json", "application/octet-stream")  # Triton's own client sends no Content-Type


_SIZE: openapi.Json = {"type": "integer", "minimum": 0}
_VALUE: openapi.Json = {"type": ["number", "string", "boolean", "null"]}


def _input_schema(version: ModelVersion | None, settings: Settings) -> openapi.Json:
    """Return the schema of an input tensor. The allowed names are the features of the version in service, if any."""
    names = {"enum": [feature.name for feature in version.schema.features]} if version else {}
    return openapi.an_object(
        {
            "name": {"type": "string", **names, "description": "The name of the feature."},
            "datatype": openapi.schema_of(Datatype),
            "shape": {
                **openapi.list_of({"type": "integer", "minimum": 1, "maximum": settings.max_batch}),
                "minItems": 1,
                "maxItems": 2,
                "description": "[n] or [n, 1], for n houses.",
            },
            "data": openapi.about(
                openapi.list_of({"anyOf": [_VALUE, openapi.list_of(_VALUE)]}),
                "n values, or n one-element lists. Null means a missing value.",
            ),
            "parameters": openapi.about(
                openapi.nullable({"type": "object"}),
                "`binary_data_size`: the size in bytes of the binary data that is sent instead of `data`.",
            ),
        },
        optional=["data", "parameters"],
    )


_PLAIN = openapi.Resource(
    "Open Inference Protocol",
    {
        "InferenceInput": _input_schema,
        **openapi.named(
            InferenceErrorAnswer,
            InferenceServerAnswer,
            InferenceLivenessAnswer,
            InferenceReadinessAnswer,
            InferenceModelReadinessAnswer,
            InferenceModelAnswer,
        ),
        "InferenceRequest": openapi.an_object(
            {
                "id": openapi.about(openapi.nullable(openapi.TEXT), "An id to return in the response."),
                "inputs": {
                    **openapi.list_of(openapi.ref("InferenceInput")),
                    "minItems": 1,
                    "description": "A tensor for each feature, all with the same number of houses. Optional features "
                    "may be left out.",
                },
                "outputs": openapi.about(
                    openapi.nullable(openapi.list_of(openapi.ref("InferenceOutput"))),
                    "The outputs to return. Defaults to all outputs.",
                ),
                "parameters": openapi.about(
                    openapi.nullable({"type": "object"}),
                    "`binary_data_output`: the default for `binary_data` in all outputs.",
                ),
            },
            optional=["id", "outputs", "parameters"],
        ),
        "InferenceOutput": openapi.an_object(
            {
                "name": openapi.schema_of(OutputName),
                "parameters": openapi.about(
                    openapi.nullable({"type": "object"}), "`binary_data`: whether to return the output in binary."
                ),
            },
            optional=["parameters"],
        ),
        **openapi.named(InferenceResponseAnswer),
    },
)

_BINARY = "application/octet-stream"
_LENGTH = openapi.about(
    {"type": "integer", "minimum": 0}, "The length of the JSON in bytes, if binary tensors follow it."
)


def _problems(*names: str) -> Sequence[openapi.Answer]:
    """Return the responses for these problems, in the error format of this protocol."""
    return [
        evolve(answer, schema=InferenceErrorAnswer, media_type=openapi.JSON, problems=())
        for answer in openapi.problem_answers(names).values()
    ]


def _not_ready(kind: type, *names: str) -> openapi.Answer:
    """Return the 503 response of a readiness route.

    Its body is a document of the class `kind` if a health check failed, or an error document for one of the problems in
    `names`.
    """
    *_, problem = _problems(*names)
    return openapi.Answer(
        "A health check failed, or the service is stopping.",
        (kind, InferenceErrorAnswer),
        status=503,
        headers=problem.headers,
        listed=problem.listed,
    )


_UNKNOWN = "There is no model with this name, or this version is not in service."
_INFERENCE_PROBLEMS = (
    *("body-too-large", "unsupported-media-type", "request-timeout"),
    *("overloaded", "storage-unavailable"),
)
_READY = "Estimates can be made and recorded."
_OF_VERSION = openapi.Resource(_PLAIN.tag)
INFERENCE = (_PLAIN, _OF_VERSION)
_NAME = openapi.in_path("name", {"type": "string", "enum": [MODEL]}, "The name of the model.")
_VERSION = openapi.in_path("version", openapi.TEXT, "The name of the version in service.")


class ProtocolError(Exception):
    """An error that exists only in this protocol, with its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def with_protocol_errors(endpoint: Endpoint) -> Endpoint:
    """Make an endpoint report errors in the format of this protocol: `{"error": …}`, listing every violation."""

    @wraps(endpoint)
    async def respond(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)  # only for the log and the metrics
        except ProtocolError as error:
            return json_response(document(InferenceErrorAnswer(error=str(error))), error.status)
        except Exception as error:  # noqa: BLE001  # every error has a response
            problem = request.scope[PROBLEM] = problem_of(request, error)
            return await run_in_threadpool(_problem_response, problem)

    return respond


def _problem_response(problem: Problem) -> Response:
    """Build the response for a problem. Invalid input has status 400, as the protocol has no other status for it."""
    error = "; ".join(violation.describe() for violation in problem.violations) or problem.detail
    return json_response(
        document(InferenceErrorAnswer(error=error)), 400 if problem.violations else problem.status, problem.headers
    )


def _model_route(name: str, id_: str, *answers: openapi.Answer, **more: Any) -> Callable[[H], H]:
    """Return a decorator that adds a handler to two routes: for the model, and for the model's version in service.

    The arguments are those of Resource.route, but the path in `name` starts after the model's name, as in `GET /ready`.
    """
    method, _, suffix = name.partition(" ")
    parameters = more.pop("parameters", ())
    answers = (*answers, openapi.Answer(_UNKNOWN, InferenceErrorAnswer, status=404))
    plain = _PLAIN.route(
        f"{method} /v2/models/{{name}}{suffix}", id_, *answers, faults=(), parameters=[_NAME, *parameters], **more
    )
    of_version = _OF_VERSION.route(
        f"{method} /v2/models/{{name}}/versions/{{version}}{suffix}",
        f"{id_}OfVersion",
        *answers,
        summary="Open Inference Protocol: same as without /versions/{version}, which must name the version in service",
        faults=(),
        parameters=[_NAME, _VERSION, *parameters],
        **more,
    )

    def add(handler: H) -> H:
        plain(with_protocol_errors(handler))
        of_version(with_protocol_errors(handler))
        return handler

    return add


@_PLAIN.route(
    "GET /v2",
    "getInferenceServer",
    openapi.Answer("The server's name, version and extensions.", InferenceServerAnswer),
    faults=(),
)
@with_protocol_errors
async def server(_request: Request) -> Response:
    """Open Inference Protocol: get the server's metadata."""
    return json_response(
        document(InferenceServerAnswer(name=MODEL, version=__version__, extensions=["binary_tensor_data"]))
    )


@_PLAIN.route(
    "GET /v2/health/live",
    "getInferenceLiveness",
    openapi.Answer("The process is running.", InferenceLivenessAnswer),
    faults=(),
)
@with_protocol_errors
async def live(_request: Request) -> Response:
    """Open Inference Protocol: check that the process is alive."""
    return json_response(document(InferenceLivenessAnswer(live=True)))


@_PLAIN.route(
    "GET /v2/health/ready",
    "getInferenceReadiness",
    openapi.Answer(_READY, InferenceReadinessAnswer),
    *_problems("internal-error"),
    _not_ready(InferenceReadinessAnswer, "not-started"),
    faults=(),
)
@with_protocol_errors
async def ready(request: Request) -> Response:
    """Open Inference Protocol: check that the server is ready."""
    is_ready = await run_in_threadpool(_is_ready, request)
    return json_response(document(InferenceReadinessAnswer(ready=is_ready)), 200 if is_ready else 503)


def _is_ready(request: Request) -> bool:
    return not state_of(request.app).stopping and readiness_checks(application_of(request)).all_passed


@_model_route(
    "GET ",
    "getInferenceModel",
    openapi.Answer("The inputs and outputs of the model.", InferenceModelAnswer),
    *_problems(*openapi.SERVING, *openapi.FAULTS),
)
async def model(request: Request) -> Response:
    """Open Inference Protocol: get the inputs and outputs of the model `housepredict`."""
    version = (await run_in_threadpool(application_of(request).live_model.current)).version
    _require_model(request, version)
    return json_response(document(version, InferenceModelAnswer))


@_model_route(
    "GET /ready",
    "getInferenceModelReadiness",
    openapi.Answer(_READY, InferenceModelReadinessAnswer),
    *_problems("internal-error"),
    _not_ready(InferenceModelReadinessAnswer, "not-started", *openapi.SERVING),
)
async def model_ready(request: Request) -> Response:
    """Open Inference Protocol: check that the model is ready."""
    is_ready = await run_in_threadpool(_is_ready, request)
    _require_model(request, running_service(request.app).estimator.in_service().version if is_ready else None)
    return json_response(document(InferenceModelReadinessAnswer(name=MODEL, ready=is_ready)), 200 if is_ready else 503)


@_model_route(
    "POST /infer",
    "infer",
    openapi.Answer(
        "The recorded estimates. Binary outputs follow the JSON.",
        InferenceResponseAnswer,
        also={_BINARY: openapi.FILE},
        headers={**openapi.COMPRESSIBLE, _HEADER_LENGTH: _LENGTH},
        always=["Vary"],
        links={
            "model": openapi.link("getInferenceModel", "Get the model's inputs and outputs.", name="/model_name"),
            "version": openapi.link(
                "getInferenceModelOfVersion",
                "Get the version's inputs and outputs.",
                name="/model_name",
                version="/model_version",
            ),
        },
    ),
    openapi.Answer("The body or a house is invalid.", InferenceErrorAnswer, status=400),
    *_problems(*_INFERENCE_PROBLEMS, *openapi.SERVING, *openapi.FAULTS),
    parameters=[
        openapi.header(_HEADER_LENGTH, _LENGTH, "The length of the JSON in bytes, if binary tensors follow it."),
        openapi.CONTENT_ENCODING,
    ],
    body={openapi.JSON: {"schema": openapi.ref("InferenceRequest")}, _BINARY: {"schema": openapi.FILE}},
    description="`GET /v2/models/{name}` lists the datatype of each feature. All tensors have the same shape. A binary "
    "body is the same JSON, followed by the data of the tensors that have a `binary_data_size`.",
)
async def infer(request: Request) -> Response:
    """Open Inference Protocol: estimate houses, given one tensor per feature."""
    estimator = running_service(request.app).estimator
    serving = estimator.in_service()
    _require_model(request, serving.version)
    _require_media_type(request.headers)
    body = await read_body(request.headers, request.receive, estimator.max_body, estimator.body_timeout)
    is_short = len(body) <= MAX_LOOP_BYTES
    arguments = (estimator, serving, body, request.headers.get(_HEADER_LENGTH))
    inference, job = _read(*arguments) if is_short else await run_in_threadpool(_read, *arguments)
    request.scope[JOB] = job
    try:
        predictions = await estimator.estimate(job)
    except InvalidHouses as error:
        raise in_tensors(error) from None

    def respond() -> Response:
        content, length = encode_answer(inference.id, inference.outputs, serving.version.name, predictions)
        if length is None:
            return compressed_response(content, request.headers, "application/json")
        headers = {_HEADER_LENGTH: str(length)}
        return compressed_response(content, request.headers, "application/octet-stream", headers)

    return respond() if is_short and len(predictions) <= MAX_LOOP_HOUSES else await run_in_threadpool(respond)


def _read(
    estimator: Estimator, serving: InService, body: bytes, header_length: str | None
) -> tuple[Inference, EstimateJob]:
    inference = read_inference(serving.version.schema, body, header_length, estimator.max_batch)
    try:
        return inference, estimator.check(inference.houses, serving)
    except InvalidHouses as error:
        raise in_tensors(error) from None


def _require_model(request: Request, version: ModelVersion | None) -> None:
    """Raise ProtocolError if the path names another model, or a version that isn't in service.

    `version` is the version in service. If it is None, the path may name any version.
    """
    name, requested = request.path_params["name"], request.path_params.get("version")
    if name != MODEL:
        raise ProtocolError(f"there is no model {name!r}: use {MODEL!r}", 404)
    if requested is not None and version is not None and requested != version.name:
        raise ProtocolError(f"version {requested!r} of {MODEL!r} is not in service: use {version.name!r}", 404)


def _require_media_type(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        message = "unsupported Content-Type: send application/json, or application/octet-stream with binary tensors"
        raise ProtocolError(message, 415)
