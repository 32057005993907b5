"""The service's OpenAPI document. Its house schema depends on the model version in service."""

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
from housepredict.entrypoints.http.problems import PROBLEMS, URN, ProblemAnswer, ViolationAnswer
from housepredict.entrypoints.http.responses import example
from housepredict.entrypoints.settings import Settings
from housepredict.version import __version__

GENERIC: Json = {
    "type": "object",
    "description": "The features of a house by name. No model is in service yet, so any object is accepted here.",
}
_TEXT: Json = {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\u0000]*$"}
_CODE = re.compile("0|-?[1-9][0-9]{0,14}|-?10{15}")  # a category that may be sent as an integer
_SHOWN = 20


def house_schema(schema: FeatureSchema, example: Mapping[str, object]) -> Json:
    """Return the JSON Schema for a valid house."""
    return {
        "type": "object",
        "properties": {feature.name: _feature(feature, schema) for feature in schema.features},
        "required": [feature.name for feature in schema.features if feature.required],
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
                codes = [int(category) for category in feature.categories if _CODE.fullmatch(category)]
                return {"enum": [*feature.categories, *codes]}
            limit = int(MAX_MAGNITUDE)
            # Codes such as zip codes may be sent as numbers.
            return {"anyOf": [_TEXT, {"type": "integer", "minimum": -limit, "maximum": limit}]}
        case _:
            assert_never(feature.kind)


def _plain(bound: float) -> float:
    """Return a bound as an integer if it is a whole number: 0 rather than 0.0."""
    return int(bound) if float(bound).is_integer() else bound


def _about(feature: Feature, schema: FeatureSchema) -> str:
    parts = [f"In {feature.unit}."] if feature.unit else []
    if feature.name == schema.sale_date:
        default = f" Defaults to {schema.valuation_date}." if schema.valuation_date else ""
        parts.append(f"The date for which to estimate the price.{default}")
    if feature.observed:
        low, high = feature.observed
        parts.append(f"Training sales: {low} to {high}. Values outside this range are estimated with a warning.")
    elif feature.categories and not feature.closed:
        shown = ", ".join(feature.categories[:_SHOWN])
        more = f", and {len(feature.categories) - _SHOWN:,} more" if len(feature.categories) > _SHOWN else ""
        parts.append(f"Training sales: {shown}{more}. Other values are estimated with a warning.")
    return " ".join(parts)


_ACCESS = "token"
_DESCRIPTION = (
    "Estimates sale prices of houses, with prediction intervals, and records every estimate.\n\n"
    "The schema of a house depends on the model version in service, and may change with each promotion.\n\n"
    "Errors are problem documents (RFC 9457): branch on `type`, and show `detail` to users.\n\n"
    "Every `GET` route supports `HEAD`, and every route supports `OPTIONS`. Other methods get a 405 response with "
    "an `Allow` header.\n\n"
    "Request bodies may be compressed with gzip (`Content-Encoding: gzip`). Large responses are compressed if "
    "`Accept-Encoding` allows it."
)


def openapi_document(
    resources: Sequence[Resource],
    version: ModelVersion | None,
    settings: Settings,
    root_path: str,
) -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        resources: the resources to describe, in order.
        version: the model version in service, or None if there isn't one.
        settings: the settings, which include the maximum batch size.
        root_path: the path at which the app is mounted.
    """
    any_request = [{"$ref": f"#/components/parameters/{name}"} for name in openapi.PARAMETERS]
    paths: dict[str, dict[str, Any]] = {}
    operations = {name: operation for resource in resources for name, operation in resource.operations.items()}
    schemas: dict[str, Schema | SchemaFactory] = dict(named(ProblemAnswer, ViolationAnswer))
    for resource in resources:
        schemas |= resource.schemas
    for name, operation in operations.items():
        method, _, path = name.partition(" ")
        path_item = paths.setdefault(path, {"parameters": any_request})
        path_item[method.lower()] = _operation(operation, version, settings)
    house = GENERIC
    if version:
        house_example = example(version.schema)
        house = house_schema(version.schema, house_example)
        examples = {"house": {"value": house_example}, "houses": {"summary": "A batch", "value": [house_example]}}
        paths["/predict"]["post"]["requestBody"]["content"][JSON]["examples"] = examples
    model = f"model version {version.name}" if version else "no model in service"
    classes = [schema for schema in schemas.values() if isinstance(schema, type)]
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "housepredict",
            "version": __version__,
            "summary": f"House price estimates, with {model}",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root_path or "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations.values())],
        "paths": paths,
        "components": {
            "schemas": {
                "House": house,
                "Houses": {**list_of(ref("House")), "minItems": 1, "maxItems": settings.max_batch},
                **{
                    name: build_schema(version, settings)
                    for name, build_schema in schemas.items()
                    if isinstance(build_schema, FunctionType)
                },
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
                    "description": "The service's HOUSEPREDICT_TOKEN. A service without a token accepts requests to "
                    "these routes only from its own machine.",
                }
            },
        },
    }


def _operation(operation: Operation, version: ModelVersion | None, settings: Settings) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary_for(version),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {name: dict(content) for name, content in operation.body.items()},
        }
    problems = [*operation.problems, *operation.faults, *openapi.SERVER_PROBLEMS]
    if operation.protected:
        problems.append("forbidden" if settings.token is None else "unauthorized")
        described["security"] = [] if settings.token is None else [{_ACCESS: []}]
    described["responses"] = _responses(operation, problems)
    return described


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
    """Combine a response and a problem response with the same status.

    A header is required only if both responses always have it.
    """
    return evolve(
        answer,
        headers={**answer.headers, **problem.headers},
        always=set(answer.always) & set(problem.always),
        also={**answer.also, problem.media_type: problem.schema},
        problems=problem.problems,
        listed=sorted({*answer.listed, *problem.listed}),
    )


def _response(answer: Answer) -> dict[str, Any]:
    headers = {name: {"required": name in answer.always, "schema": schema} for name, schema in answer.headers.items()}
    response: dict[str, Any] = {"description": _description(answer), "headers": openapi.WITH_ID | headers}
    if answer.schema is not None:
        schemas = {answer.media_type: _body(answer.schema), **answer.also}
        response["content"] = {name: {"schema": schema} for name, schema in schemas.items()}
    if answer.links:
        response["links"] = dict(answer.links)
    if answer.problems:
        # Not part of the schema, because generated clients would then have a separate class for each response.
        response["x-problem-types"] = [URN + name for name in answer.problems]
    return response


def _description(answer: Answer) -> str:
    types = [PROBLEMS[name] for name in answer.listed]
    if not types:
        return answer.description
    if not answer.description:
        return " ".join(f"`{type_.name}`: {type_.title}." for type_ in types)
    listed = ", ".join(f"`{type_.name}` ({type_.title[0].lower()}{type_.title[1:]})" for type_ in types)
    return (
        f"{answer.description} Otherwise, {'this problem' if len(types) == 1 else 'one of these problems'}: {listed}."
    )


def _body(schema: Schema | Sequence[Schema]) -> Json:
    if isinstance(schema, Sequence):
        return {"oneOf": [_body(alternative) for alternative in schema]}
    return ref(name_of(schema)) if isinstance(schema, type) else schema
