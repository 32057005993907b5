"""What the document says of the Open Inference Protocol, which has a form of its own for errors."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.entrypoints.http.openapi import tensor_schemas as tensors
from housepredict.entrypoints.http.openapi.operations import (
    CONTENT_ENCODING,
    FAULTS,
    FILE,
    FLAG,
    JSON,
    PACKED,
    SERVING,
    TEXT,
    Answer,
    Json,
    Operation,
    about,
    an_object,
    header,
    in_path,
    link,
    list_of,
    ref,
)
from housepredict.entrypoints.http.openapi.problem_responses import by_status, response
from housepredict.entrypoints.http.v2.inference_requests import MODEL

_BINARY = "application/octet-stream"
_HEADER_LENGTH = "Inference-Header-Content-Length"
_ERROR = ref("InferenceError")
_LENGTH = about({"type": "integer", "minimum": 0}, "The bytes of the JSON, if tensors in binary follow it.")

SCHEMAS: Mapping[str, Json] = {
    "InferenceError": an_object({"error": about(TEXT, "All that is wrong, in words.")}),
    "InferenceServer": an_object({"name": TEXT, "version": TEXT, "extensions": list_of(TEXT)}),
    "InferenceLiveness": an_object({"live": FLAG}),
    "InferenceReadiness": an_object({"ready": FLAG}),
    "InferenceModelReadiness": an_object({"name": TEXT, "ready": FLAG}),
    **tensors.SCHEMAS,
}


def _told(*names: str) -> Mapping[int, Answer]:
    """Problems, as this protocol tells them."""
    answers = {}
    for status, some in by_status(names).items():
        told = response(some)
        headers = {name: each for name, each in told["headers"].items() if "schema" in each}
        answers[status] = Answer(
            told["description"],
            _ERROR,
            headers={name: each["schema"] for name, each in headers.items()},
            always=[name for name, each in headers.items() if each["required"]],
        )
    return answers


def _or_an_error(what: Answer, *names: str) -> Mapping[int, Answer]:
    """An answer of 503, which may be a problem as well."""
    told = _told(*names)[503]
    whole = Answer(
        f"{what.description} Or {told.description}",
        {"oneOf": [what.schema, _ERROR]},
        headers=told.headers,
    )
    return {503: whole}


_NOT_THIS = {404: Answer("There is no such model here, or it is no version in service.", _ERROR)}
_OF_AN_INFERENCE = (
    *("body-too-large", "unsupported-media-type", "request-timeout"),
    *("overloaded", "storage-unavailable"),
)
_NOT_READY = "It could not, or the service is about to stop."
_READY = "An estimate could be given and recorded now."
_TAG = "Open Inference Protocol"
_NAME = in_path("name", {"type": "string", "enum": [MODEL]}, "The name of the one model.")
_VERSION = in_path("version", TEXT, "The name of the version in service.")

_SERVER: Mapping[str, Operation] = {
    "GET /v2": Operation(
        "getInferenceServer",
        _TAG,
        {200: Answer("What serves, and the extensions that it knows.", ref("InferenceServer"))},
        faults=(),
    ),
    "GET /v2/health/live": Operation(
        "getInferenceLiveness", _TAG, {200: Answer("The process answers.", ref("InferenceLiveness"))}, faults=()
    ),
    "GET /v2/health/ready": Operation(
        "getInferenceReadiness",
        _TAG,
        {
            200: Answer(_READY, ref("InferenceReadiness")),
            **_told("internal-error"),
            **_or_an_error(Answer(_NOT_READY, ref("InferenceReadiness")), "not-started"),
        },
        faults=(),
    ),
}


def _of_the_model(path: str, suffix: str, *of_path: Json) -> Mapping[str, Operation]:
    """The routes at a path of the model, or of a version of it."""
    return {
        f"GET {path}": Operation(
            f"getInferenceModel{suffix}",
            _TAG,
            {
                200: Answer("What it takes and what it answers.", ref("InferenceModel")),
                **_NOT_THIS,
                **_told(*SERVING, *FAULTS),
            },
            faults=(),
            parameters=of_path,
        ),
        f"GET {path}/ready": Operation(
            f"getInferenceModelReadiness{suffix}",
            _TAG,
            {
                200: Answer(_READY, ref("InferenceModelReadiness")),
                **_NOT_THIS,
                **_told("internal-error"),
                **_or_an_error(Answer(_NOT_READY, ref("InferenceModelReadiness")), "not-started", *SERVING),
            },
            faults=(),
            parameters=of_path,
        ),
        f"POST {path}/infer": Operation(
            f"infer{suffix}",
            _TAG,
            {
                200: Answer(
                    "Estimated and recorded, all houses. In binary, the same JSON comes first.",
                    ref("InferenceResponse"),
                    also={_BINARY: FILE},
                    headers={**PACKED, _HEADER_LENGTH: _LENGTH},
                    always=["Vary"],
                    links={
                        "model": link("getInferenceModel", "What it takes.", name="/model_name"),
                        "version": link(
                            "getInferenceModelOfVersion",
                            "The same of the version.",
                            name="/model_name",
                            version="/model_version",
                        ),
                    },
                ),
                400: Answer("Something is wrong with the body, or with a house.", _ERROR),
                **_NOT_THIS,
                **_told(*_OF_AN_INFERENCE, *SERVING, *FAULTS),
            },
            faults=(),
            parameters=[
                *of_path,
                header(_HEADER_LENGTH, _LENGTH, "Where the JSON of the body ends, if tensors in binary follow it."),
                CONTENT_ENCODING,
            ],
            body={
                JSON: {"schema": ref("InferenceRequest")},
                _BINARY: {"schema": FILE},
            },
            description="What tensors have to be, `GET /v2/models/{name}` says of each feature. All have the same n. "
            "In binary, the body is the same JSON, and after it the tensors that have a `binary_data_size`.",
        ),
    }


OPERATIONS: Mapping[str, Operation] = {
    **_SERVER,
    **_of_the_model("/v2/models/{name}", "", _NAME),
    **_of_the_model("/v2/models/{name}/versions/{version}", "OfVersion", _NAME, _VERSION),
}
