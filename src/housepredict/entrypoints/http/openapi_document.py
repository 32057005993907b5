"""The OpenAPI document of the service, as it is with the model that is in service."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any, assert_never

from attrs import evolve

from housepredict.domain.features import MAX_MAGNITUDE, MAX_TEXT, Feature, FeatureSchema, Kind
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.openapi import (
    DATE,
    JSON,
    Answer,
    Json,
    Operation,
    Resource,
    Schema,
    SchemaFactory,
    list_of,
    name_of,
    named,
    object_schema,
    ref,
)
from housepredict.entrypoints.http.problems import URN, ProblemAnswer, ViolationAnswer
from housepredict.entrypoints.http.responses import example
from housepredict.entrypoints.settings import Settings
from housepredict.version import __version__

GENERIC: Json = {
    "type": "object",
    "description": "The features of a house by name. No model is in service: which ones it will want is not known yet.",
}
_TEXT: Json = {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\u0000]*$"}
_CODE = re.compile("0|-?[1-9][0-9]{0,14}|-?10{15}")  # a category that a whole number may stand for
_SHOWN = 20


def house_schema(schema: FeatureSchema, example: Mapping[str, object]) -> Json:
    """The JSON Schema of a house that fits a FeatureSchema."""
    return {
        "type": "object",
        "properties": {each.name: _feature(each, schema) for each in schema.features},
        "required": [each.name for each in schema.features if each.required],
        "additionalProperties": False,
        "examples": [dict(example)],
    }


def _feature(feature: Feature, schema: FeatureSchema) -> Json:
    about = _about(feature, schema)
    described: dict[str, Any] = {"description": about} if about else {}
    if feature.unit:
        described["x-unit"] = feature.unit
    values = _values(feature)
    if feature.required:
        return {**values, **described}
    if "type" in values:
        return {**values, "type": [values["type"], "null"], **described}
    if "enum" in values:
        return {**values, "enum": [*values["enum"], None], **described}
    return {"anyOf": [*values["anyOf"], {"type": "null"}], **described}


def _values(feature: Feature) -> Json:
    match feature.kind:
        case Kind.NUMBER | Kind.INTEGER:
            low, high = feature.minimum, feature.maximum
            return {
                "type": "integer" if feature.kind is Kind.INTEGER else "number",
                "minimum": _plain(-MAX_MAGNITUDE if low is None else max(low, -MAX_MAGNITUDE)),
                "maximum": _plain(MAX_MAGNITUDE if high is None else min(high, MAX_MAGNITUDE)),
            }
        case Kind.BOOLEAN:
            return {"type": "boolean"}
        case Kind.DATE:
            return DATE
        case Kind.CATEGORY:
            if feature.closed:
                codes = [int(each) for each in feature.categories if _CODE.fullmatch(each)]
                return {"enum": [*feature.categories, *codes]}
            limit = int(MAX_MAGNITUDE)
            # a code such as a zip code may come as a number
            return {"anyOf": [_TEXT, {"type": "integer", "minimum": -limit, "maximum": limit}]}
        case _:
            assert_never(feature.kind)


def _plain(bound: float) -> float:
    """A bound as JSON has it: 0 and not 0.0."""
    return int(bound) if float(bound).is_integer() else bound


def _about(feature: Feature, schema: FeatureSchema) -> str:
    parts = [f"In {feature.unit}."] if feature.unit else []
    if feature.name == schema.sale_date:
        otherwise = f"; without it, {schema.valuation_date}" if schema.valuation_date else ""
        parts.append(f"The day that the estimate is for{otherwise}.")
    if feature.observed:
        low, high = feature.observed
        parts.append(f"The model learned from {low} to {high}; values outside are estimated with a warning.")
    elif feature.categories and not feature.closed:
        shown = ", ".join(feature.categories[:_SHOWN])
        more = f", and {len(feature.categories) - _SHOWN} more" if len(feature.categories) > _SHOWN else ""
        parts.append(f"The model learned from {shown}{more}; others are estimated with a warning.")
    return " ".join(parts)


_ACCESS = "token"
_DESCRIPTION = (
    "Estimates what a house will sell for, says how sure it is, and remembers every estimate it gave.\n\n"
    "The schema of a house is that of the model version in service: it changes with each promotion. "
    "Any route answers `HEAD` where it answers `GET`, tells its methods to `OPTIONS`, and refuses others with 405, a "
    "problem document and `Allow`.\n\n"
    "Bodies may come in gzip, with `Content-Encoding`; large answers do so where `Accept-Encoding` takes it."
)


def openapi_document(
    resources: Sequence[Resource],
    version: ModelVersion | None,
    settings: Settings,
    root_path: str,
) -> dict[str, Any]:
    """The document of some resources, in their order.

    Args:
        version: the version in service, if there is one.
        root_path: where the app is mounted.
    """
    any_request = [{"$ref": f"#/components/parameters/{name}"} for name in openapi.PARAMETERS]
    paths: dict[str, dict[str, Any]] = {}
    operations = {name: operation for resource in resources for name, operation in resource.operations.items()}
    schemas: dict[str, Schema | SchemaFactory] = dict(named(ProblemAnswer, ViolationAnswer))
    for resource in resources:
        schemas |= resource.schemas
    for name, operation in operations.items():
        method, _, path = name.partition(" ")
        described = paths.setdefault(path, {"parameters": any_request})
        described[method.lower()] = _operation(operation, version, settings)
    house = GENERIC
    if version:
        one = example(version.schema)
        house = house_schema(version.schema, one)
        examples = {"house": {"value": one}, "houses": {"summary": "A batch", "value": [one]}}
        paths["/predict"]["post"]["requestBody"]["content"][JSON]["examples"] = examples
    title = f"the model version {version.name}" if version else "no model in service"
    classes = [schema for schema in schemas.values() if isinstance(schema, type)]
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "housepredict",
            "version": __version__,
            "summary": f"House prices, with {title}",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root_path or "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(each.tag for each in operations.values())],
        "paths": paths,
        "components": {
            "schemas": {
                "House": house,
                "Houses": {**list_of(ref("House")), "minItems": 1, "maxItems": settings.max_batch},
                **{name: make(version, settings) for name, make in schemas.items() if isinstance(make, FunctionType)},
                **{
                    name: object_schema(schema, classes) if isinstance(schema, type) else schema
                    for name, schema in schemas.items()
                    if not isinstance(schema, FunctionType)
                },
            },
            "parameters": dict(openapi.PARAMETERS),
            "headers": dict(openapi.HEADERS),
            "responses": {str(status): _response(answer) for status, answer in openapi.SHARED.items()},
            "securitySchemes": {
                _ACCESS: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The service's HOUSEPREDICT_TOKEN. A service without one lets programs on its own "
                    "machine in, and nobody else.",
                }
            },
        },
    }


def _operation(operation: Operation, version: ModelVersion | None, settings: Settings) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary_for(version),
    }
    if operation.description:
        made["description"] = operation.description
    if operation.parameters:
        made["parameters"] = list(operation.parameters)
    if operation.body:
        made["requestBody"] = {
            "required": operation.body_required,
            "content": {name: dict(each) for name, each in operation.body.items()},
        }
    refused: Sequence[str] = ()
    if operation.protected:
        refused = ("forbidden",) if settings.token is None else ("unauthorized",)
        made["security"] = [] if settings.token is None else [{_ACCESS: []}]
    made["responses"] = _responses(
        operation, [*operation.problems, *operation.faults, *openapi.BY_THE_SERVER, *refused]
    )
    return made


def _responses(operation: Operation, problems: Sequence[str]) -> dict[str, Any]:
    answers = {answer.status: answer for answer in operation.answers}
    for status, problem in openapi.problem_answers(problems).items():
        answers[status] = _either(answers[status], problem) if status in answers else problem
    return {
        str(status): {"$ref": f"#/components/responses/{status}"}
        if answer == openapi.SHARED.get(status)
        else _response(answer)
        for status, answer in sorted(answers.items())
    }


def _either(answer: Answer, problem: Answer) -> Answer:
    """The response that is the one or the other: a header that one of them may lack may be lacking."""
    return evolve(
        answer,
        description=f"{answer.description} Or {problem.description}",
        headers={**answer.headers, **problem.headers},
        always=set(answer.always) & set(problem.always),
        also={**answer.also, problem.media_type: problem.schema},
        problems=problem.problems,
    )


def _response(answer: Answer) -> dict[str, Any]:
    headers = {name: {"required": name in answer.always, "schema": each} for name, each in answer.headers.items()}
    made: dict[str, Any] = {"description": answer.description, "headers": openapi.WITH_ID | headers}
    if answer.schema is not None:
        schemas = {answer.media_type: _body(answer.schema), **answer.also}
        made["content"] = {name: {"schema": each} for name, each in schemas.items()}
    if answer.links:
        made["links"] = dict(answer.links)
    if answer.problems:
        # not in the schema: generated clients would have a class of its own for each response
        made["x-problem-types"] = [URN + name for name in answer.problems]
    return made


def _body(schema: Schema | Sequence[Schema]) -> Json:
    if isinstance(schema, Sequence):
        return {"oneOf": [_body(each) for each in schema]}
    return ref(name_of(schema)) if isinstance(schema, type) else schema
