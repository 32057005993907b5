"""The schemas of what the Open Inference Protocol sends and answers: tensors, a feature or an output each."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.domain.features import Kind
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.http.openapi.operations import (
    FLAG,
    TEXT,
    Json,
    about,
    an_object,
    list_of,
    nullable,
    ref,
)
from housepredict.entrypoints.http.v2.inference_requests import OUTPUTS
from housepredict.entrypoints.http.v2.tensors import DATATYPES

_DATATYPE: Json = {"type": "string", "enum": sorted(DATATYPES)}
_OUTPUT: Json = {"type": "string", "enum": list(OUTPUTS)}
_ANY_SIZE = about(list_of({"type": "integer"}), "[-1]: any number of houses.")
_VALUE: Json = {"type": ["number", "string", "boolean", "null"]}
_SIZE: Json = {"type": "integer", "minimum": 0}

SCHEMAS: Mapping[str, Json] = {
    "InferenceModel": an_object(
        {
            "name": TEXT,
            "versions": about(list_of(TEXT), "The version in service alone."),
            "platform": TEXT,
            "inputs": list_of(
                an_object(
                    {
                        "name": TEXT,
                        "datatype": _DATATYPE,
                        "shape": _ANY_SIZE,
                        "parameters": an_object(
                            {"kind": {"type": "string", "enum": [str(each) for each in Kind]}, "required": FLAG}
                        ),
                    }
                )
            ),
            "outputs": list_of(an_object({"name": _OUTPUT, "datatype": _DATATYPE, "shape": _ANY_SIZE})),
        }
    ),
    "InferenceRequest": an_object(
        {
            "id": about(nullable(TEXT), "The answer repeats it."),
            "inputs": {
                **list_of(ref("InferenceInput")),
                "minItems": 1,
                "description": "One for each feature, of as many houses; those that a house may lack may be left out.",
            },
            "outputs": about(nullable(list_of(ref("InferenceOutput"))), "Those that are wanted; without them, all."),
            "parameters": about(
                nullable({"type": "object"}), "`binary_data_output`: true for outputs in binary that do not say."
            ),
        },
        optional=["id", "outputs", "parameters"],
    ),
    "InferenceOutput": an_object(
        {
            "name": _OUTPUT,
            "parameters": about(nullable({"type": "object"}), "`binary_data`: whether it is to be in binary."),
        },
        optional=["parameters"],
    ),
    "InferenceResponse": an_object(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": list_of(
                an_object(
                    {
                        "name": _OUTPUT,
                        "datatype": _DATATYPE,
                        "shape": list_of(_SIZE),
                        "data": list_of({"type": ["number", "string", "null"]}),
                        "parameters": an_object({"binary_data_size": _SIZE}),
                    },
                    optional=["data", "parameters"],
                )
            ),
        },
        optional=["id"],
    ),
}


def input_schema(version: ModelVersion | None, max_batch: int) -> Json:
    """The schema of a tensor of the features of the version in service, if there is one."""
    names = {"enum": [each.name for each in version.schema.features]} if version else {}
    return an_object(
        {
            "name": {"type": "string", **names, "description": "The feature."},
            "datatype": _DATATYPE,
            "shape": {
                **list_of({"type": "integer", "minimum": 1, "maximum": max_batch}),
                "minItems": 1,
                "maxItems": 2,
                "description": "[n] or [n, 1], for n houses.",
            },
            "data": about(
                list_of({"anyOf": [_VALUE, list_of(_VALUE)]}), "n values, or n lists of one; null for what is missing."
            ),
            "parameters": about(
                nullable({"type": "object"}), "`binary_data_size`: how many bytes of binary it has in place of data."
            ),
        },
        optional=["data", "parameters"],
    )
