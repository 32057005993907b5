"""What the document says of model versions."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.measures import RANGES, Accuracy, Bounds, Coverage, Segment
from housepredict.domain.features import Kind
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.entrypoints.http.openapi.operations import (
    CONTENT_ENCODING,
    COUNT,
    DATE,
    FLAG,
    HTML,
    NUMBER,
    OF_PAGE,
    PACKABLE,
    TEXT,
    TIME,
    VARYING,
    Answer,
    Json,
    Operation,
    about,
    an_object,
    by_name,
    in_path,
    link,
    list_of,
    nullable,
    ref,
    schema_of,
)

ACCURACY: Json = schema_of(Accuracy)["properties"]
"""The measures, which stand among other fields wherever they are told."""

OUT_OF_RANGE: Json = about(
    list_of({"type": "string", "enum": [*RANGES, "coverage_80", "coverage_90"]}),
    "The measures that are not acceptable: by the ranges of the IAAO, or for coverage by an exact binomial test.",
)

_VALUE: Json = {"type": ["string", "number", "boolean"]}
_RANGE = nullable(list_of(_VALUE))
_ALGORITHMS: Json = {"type": "string", "enum": [str(each) for each in Algorithm if each is not Algorithm.AUTO]}
_FEATURE: Json = {
    "name": TEXT,
    "kind": {"type": "string", "enum": [str(each) for each in Kind]},
    "unit": nullable(TEXT),
    "required": FLAG,
}
_WHOLE_FEATURE: Json = {
    **_FEATURE,
    "minimum": nullable(NUMBER),
    "maximum": nullable(NUMBER),
    "observed": _RANGE,
    "categories": list_of(TEXT),
    "closed": FLAG,
    "usual": _RANGE,
    "rare": list_of(TEXT),
}
REJECTED_ROWS = about(by_name(COUNT), "How many rows of the sales were rejected, by reason.")
NOTES = about(list_of(TEXT), "How the file of sales was read: what was guessed or repaired.")
_GENERATION = about({"type": ["integer", "null"]}, "Grows with each promotion.")
_MODEL: Json = {
    "model_version": TEXT,
    "promoted": FLAG,
    "created_at": TIME,
    "algorithm": _ALGORITHMS,
    "synthetic": about(FLAG, "Whether the sales that it learned from were made up."),
    "recorded": about(nullable(COUNT), "How many of them came back of houses that were estimated."),
    "rejected_rows": REJECTED_ROWS,
    "notes": NOTES,
    "valuation_date": about(nullable(DATE), "The date that estimates are for where a house does not say."),
    "reproducible": FLAG,
    "irreproducible": about(nullable(TEXT), "Why the same sales may make another version."),
    "intervals": about(
        nullable(ref("IntervalChoice")), "Which intervals it has, and why; null for a version of an older release."
    ),
    "features": list_of(an_object(_FEATURE)),
    "evaluation": ref("Evaluation"),
}

SCHEMAS: Mapping[str, Json] = {
    "Coverage": schema_of(Coverage),
    "Bounds": schema_of(Bounds),
    "Segment": schema_of(Segment),
    "IntervalChoice": schema_of(IntervalChoice),
    "Evaluation": an_object(
        {
            "trained_on": COUNT,
            "held_out": COUNT,
            **ACCURACY,
            "bounds": by_name(ref("Bounds")),
            "coverage": list_of(ref("Coverage")),
            "out_of_range": OUT_OF_RANGE,
            "price_tenths": list_of(ref("Segment")),
            "category": nullable(TEXT),
            "categories": list_of(ref("Segment")),
            "out_of_time": nullable(ref("OutOfTimeEvaluation")),
            "out_of_time_skipped": nullable(TEXT),
        }
    ),
    "OutOfTimeEvaluation": an_object(
        {
            "since": DATE,
            "trained_on": COUNT,
            "held_out": COUNT,
            **ACCURACY,
            "coverage": list_of(ref("Coverage")),
            "out_of_range": OUT_OF_RANGE,
        }
    ),
    "Model": an_object({**_MODEL, "generation": _GENERATION}, optional=["generation"]),
    "ModelVersion": an_object(
        {
            **_MODEL,
            "features": list_of(an_object(_WHOLE_FEATURE)),
            "sale_date": nullable(TEXT),
            "options": schema_of(TrainingOptions),
            "source_digest": TEXT,
            "digests": by_name(TEXT),
            "libraries": by_name(TEXT),
            "calibration": nullable(schema_of(Calibration)),
            "self_test": list_of(an_object({"house": by_name(_VALUE), "price": NUMBER})),
        }
    ),
    "Models": an_object(
        {
            "models": about(list_of(ref("Model")), "Oldest first."),
            "promoted": nullable(TEXT),
            "generation": _GENERATION,
        }
    ),
}

_NAME = in_path("name", TEXT, "The name of a model version.")
_OF_A_VERSION = ("unknown-version", "refused-version", "model-store-unavailable")

_LINKS: Json = {
    "version": link("getModel", "How it came about.", name="/model_version"),
    "promote": link("promoteModel", "Let it serve again, after others have.", name="/model_version"),
}

OPERATIONS: Mapping[str, Operation] = {
    "GET /models": Operation(
        "listModels",
        "Models",
        {
            200: Answer(
                "All versions, and which is promoted.",
                ref("Models"),
                links={
                    "first": link("getModel", "How the oldest came about.", name="/models/0/model_version"),
                    "promoteFirst": link("promoteModel", "Let the oldest serve.", name="/models/0/model_version"),
                },
            )
        },
        problems=("model-store-unavailable",),
    ),
    "GET /models/{name}": Operation(
        "getModel",
        "Models",
        {
            200: Answer(
                "The version, with how it came about; for browsers as a page.",
                ref("ModelVersion"),
                also={HTML: TEXT},
                headers={**VARYING, **OF_PAGE},
                always=["Vary"],
            )
        },
        problems=_OF_A_VERSION,
        parameters=[_NAME],
    ),
    "POST /models/{name}/promote": Operation(
        "promoteModel",
        "Models",
        {200: Answer("The version, which serves from now on.", ref("Model"), links=_LINKS)},
        problems=(*_OF_A_VERSION, *PACKABLE),
        parameters=[_NAME, CONTENT_ENCODING],
        protected=True,
        description="Whatever the promotion rule says of the version. A body is ignored.",
    ),
    "POST /models/rollback": Operation(
        "rollBackModel",
        "Models",
        {200: Answer("The version that was promoted before, which serves from now on.", ref("Model"), links=_LINKS)},
        problems=(*_OF_A_VERSION, *PACKABLE),
        parameters=[CONTENT_ENCODING],
        protected=True,
        description="Each call goes back further. A body is ignored.",
    ),
}
