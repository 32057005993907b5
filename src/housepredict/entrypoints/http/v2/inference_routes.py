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
from housepredict.entrypoints.http.requests import application_of, read_body, response
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.routes.predict_routes import FEW, SHORT
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
    answer_to,
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
_MEDIA_TYPES = ("", "application/json", "application/octet-stream")  # Triton's own client sends none


_SIZE: openapi.Json = {"type": "integer", "minimum": 0}
_VALUE: openapi.Json = {"type": ["number", "string", "boolean", "null"]}


def _input_schema(version: ModelVersion | None, settings: Settings) -> openapi.Json:
    """The schema of a tensor of the features of the version in service, if there is one."""
    names = {"enum": [each.name for each in version.schema.features]} if version else {}
    return openapi.an_object(
        {
            "name": {"type": "string", **names, "description": "The feature."},
            "datatype": openapi.schema_of(Datatype),
            "shape": {
                **openapi.list_of({"type": "integer", "minimum": 1, "maximum": settings.max_batch}),
                "minItems": 1,
                "maxItems": 2,
                "description": "[n] or [n, 1], for n houses.",
            },
            "data": openapi.about(
                openapi.list_of({"anyOf": [_VALUE, openapi.list_of(_VALUE)]}),
                "n values, or n lists of one; null for what is missing.",
            ),
            "parameters": openapi.about(
                openapi.nullable({"type": "object"}),
                "`binary_data_size`: how many bytes of binary it has in place of data.",
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
                "id": openapi.about(openapi.nullable(openapi.TEXT), "The answer repeats it."),
                "inputs": {
                    **openapi.list_of(openapi.ref("InferenceInput")),
                    "minItems": 1,
                    "description": "One for each feature, of as many houses; those that a house may lack may be left "
                    "out.",
                },
                "outputs": openapi.about(
                    openapi.nullable(openapi.list_of(openapi.ref("InferenceOutput"))),
                    "Those that are wanted; without them, all.",
                ),
                "parameters": openapi.about(
                    openapi.nullable({"type": "object"}),
                    "`binary_data_output`: true for outputs in binary that do not say.",
                ),
            },
            optional=["id", "outputs", "parameters"],
        ),
        "InferenceOutput": openapi.an_object(
            {
                "name": openapi.schema_of(OutputName),
                "parameters": openapi.about(
                    openapi.nullable({"type": "object"}), "`binary_data`: whether it is to be in binary."
                ),
            },
            optional=["parameters"],
        ),
        **openapi.named(InferenceResponseAnswer),
    },
)

_BINARY = "application/octet-stream"
_LENGTH = openapi.about({"type": "integer", "minimum": 0}, "The bytes of the JSON, if tensors in binary follow it.")


def _problems(*names: str) -> Sequence[openapi.Answer]:
    """Problems, as this protocol tells them."""
    return [
        evolve(answer, schema=InferenceErrorAnswer, media_type=openapi.JSON, problems=())
        for answer in openapi.problem_answers(names).values()
    ]


def _not_ready(kind: type, *names: str) -> openapi.Answer:
    """The answer of what is not ready, which may be a problem as well."""
    *_, problem = _problems(*names)
    description = f"It could not, or the service is about to stop. Or {problem.description}"
    return openapi.Answer(description, (kind, InferenceErrorAnswer), status=503, headers=problem.headers)


_UNKNOWN = "There is no such model here, or it is no version in service."
_OF_AN_INFERENCE = (
    *("body-too-large", "unsupported-media-type", "request-timeout"),
    *("overloaded", "storage-unavailable"),
)
_READY = "An estimate could be given and recorded now."
_OF_VERSION = openapi.Resource(_PLAIN.tag)
INFERENCE = (_PLAIN, _OF_VERSION)
_NAME = openapi.in_path("name", {"type": "string", "enum": [MODEL]}, "The name of the one model.")
_VERSION = openapi.in_path("version", openapi.TEXT, "The name of the version in service.")


class Refusal(Exception):
    """A request that only this protocol knows, and refuses."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def in_its_form(endpoint: Endpoint) -> Endpoint:
    """The endpoint, whose errors are told as the protocol wants it: `{"error": …}`, with every violation."""

    @wraps(endpoint)
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)  # which nobody is there to read
        except Refusal as refusal:
            return json_response(document(InferenceErrorAnswer(error=str(refusal))), refusal.status)
        except Exception as error:  # noqa: BLE001  # every failure has its answer
            problem = request.scope[PROBLEM] = problem_of(request, error)
            return await run_in_threadpool(_told, problem)

    return answered


def _told(problem: Problem) -> Response:
    """A problem; there is no status but 400 for houses that break rules."""
    error = "; ".join(each.describe() for each in problem.violations) or problem.detail
    return json_response(
        document(InferenceErrorAnswer(error=error)), 400 if problem.violations else problem.status, problem.headers
    )


def _of_model(name: str, id_: str, *answers: openapi.Answer, **more: Any) -> Callable[[H], H]:
    """Add a route of the model, and the same route of the version in service."""
    method, _, suffix = name.partition(" ")
    own = more.pop("parameters", ())
    answers = (*answers, openapi.Answer(_UNKNOWN, InferenceErrorAnswer, status=404))
    plain = _PLAIN.route(
        f"{method} /v2/models/{{name}}{suffix}", id_, *answers, faults=(), parameters=[_NAME, *own], **more
    )
    of_version = _OF_VERSION.route(
        f"{method} /v2/models/{{name}}/versions/{{version}}{suffix}",
        f"{id_}OfVersion",
        *answers,
        summary="The same of the version in service, by its name",
        faults=(),
        parameters=[_NAME, _VERSION, *own],
        **more,
    )

    def add(handler: H) -> H:
        plain(in_its_form(handler))
        of_version(in_its_form(handler))
        return handler

    return add


@_PLAIN.route(
    "GET /v2",
    "getInferenceServer",
    openapi.Answer("What serves, and the extensions that it knows.", InferenceServerAnswer),
    faults=(),
)
@in_its_form
async def server(_request: Request) -> Response:
    """Open Inference Protocol: the server."""
    return json_response(
        document(InferenceServerAnswer(name=MODEL, version=__version__, extensions=["binary_tensor_data"]))
    )


@_PLAIN.route(
    "GET /v2/health/live",
    "getInferenceLiveness",
    openapi.Answer("The process answers.", InferenceLivenessAnswer),
    faults=(),
)
@in_its_form
async def live(_request: Request) -> Response:
    """Open Inference Protocol: whether the service is alive."""
    return json_response(document(InferenceLivenessAnswer(live=True)))


@_PLAIN.route(
    "GET /v2/health/ready",
    "getInferenceReadiness",
    openapi.Answer(_READY, InferenceReadinessAnswer),
    *_problems("internal-error"),
    _not_ready(InferenceReadinessAnswer, "not-started"),
    faults=(),
)
@in_its_form
async def ready(request: Request) -> Response:
    """Open Inference Protocol: whether it can estimate and remember."""
    is_ready = await run_in_threadpool(_is_ready, request)
    return json_response(document(InferenceReadinessAnswer(ready=is_ready)), 200 if is_ready else 503)


def _is_ready(request: Request) -> bool:
    return not state_of(request.app).stopping and readiness_checks(application_of(request)).all_passed


@_of_model(
    "GET ",
    "getInferenceModel",
    openapi.Answer("What it takes and what it answers.", InferenceModelAnswer),
    *_problems(*openapi.SERVING, *openapi.FAULTS),
)
async def model(request: Request) -> Response:
    """Open Inference Protocol: the inputs and outputs of the model housepredict."""
    version = (await run_in_threadpool(application_of(request).live_model.current)).version
    _require_model(request, version)
    return json_response(document(version, InferenceModelAnswer))


@_of_model(
    "GET /ready",
    "getInferenceModelReadiness",
    openapi.Answer(_READY, InferenceModelReadinessAnswer),
    *_problems("internal-error"),
    _not_ready(InferenceModelReadinessAnswer, "not-started", *openapi.SERVING),
)
async def model_ready(request: Request) -> Response:
    """Open Inference Protocol: whether it can estimate and remember."""
    is_ready = await run_in_threadpool(_is_ready, request)
    _require_model(request, running_service(request.app).estimator.in_service().version if is_ready else None)
    return json_response(document(InferenceModelReadinessAnswer(name=MODEL, ready=is_ready)), 200 if is_ready else 503)


@_of_model(
    "POST /infer",
    "infer",
    openapi.Answer(
        "Estimated and recorded, all houses. In binary, the same JSON comes first.",
        InferenceResponseAnswer,
        also={_BINARY: openapi.FILE},
        headers={**openapi.PACKED, _HEADER_LENGTH: _LENGTH},
        always=["Vary"],
        links={
            "model": openapi.link("getInferenceModel", "What it takes.", name="/model_name"),
            "version": openapi.link(
                "getInferenceModelOfVersion",
                "The same of the version.",
                name="/model_name",
                version="/model_version",
            ),
        },
    ),
    openapi.Answer("Something is wrong with the body, or with a house.", InferenceErrorAnswer, status=400),
    *_problems(*_OF_AN_INFERENCE, *openapi.SERVING, *openapi.FAULTS),
    parameters=[
        openapi.header(_HEADER_LENGTH, _LENGTH, "Where the JSON of the body ends, if tensors in binary follow it."),
        openapi.CONTENT_ENCODING,
    ],
    body={openapi.JSON: {"schema": openapi.ref("InferenceRequest")}, _BINARY: {"schema": openapi.FILE}},
    description="What tensors have to be, `GET /v2/models/{name}` says of each feature. All have the same n. In "
    "binary, the body is the same JSON, and after it the tensors that have a `binary_data_size`.",
)
async def infer(request: Request) -> Response:
    """Open Inference Protocol: estimate houses, a tensor a feature."""
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
