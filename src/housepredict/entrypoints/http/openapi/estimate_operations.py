"""What the document says of estimates: asking for them, those that were given, and how far they have moved."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.domain.estimates import Unit
from housepredict.domain.evaluation.drift import Movement
from housepredict.entrypoints.composition import PREDICTION_COLUMNS
from housepredict.entrypoints.http.openapi.operations import (
    CONTENT_ENCODING,
    COUNT,
    CSV,
    DATE,
    FILE,
    FLAG,
    JSON,
    NUMBER,
    PACKABLE,
    PACKED,
    SERVING,
    TEXT,
    TIME,
    UUID,
    Answer,
    Json,
    Operation,
    about,
    an_object,
    by_name,
    idempotency_key,
    link,
    list_of,
    nullable,
    query,
    ref,
)

PRICE: Json = {"type": "number", "minimum": 0, "description": "In the currency of the sales, two decimals."}
_PERCENT = nullable(NUMBER)
_SHIFT: Json = {
    "psi": about(_PERCENT, "The population stability index."),
    "chance": about(_PERCENT, "What it stays below in 99 of 100 cases if nothing moved."),
    "movement": {"type": "string", "enum": [str(each) for each in Movement]},
    "bins": list_of(an_object({"bin": TEXT, "expected": NUMBER, "actual": NUMBER})),
}
_HOUSES = about(
    FILE,
    "UTF-8, commas or semicolons, a column for each feature, in any order; cells may be empty.",
)
TABLE = about(
    TEXT,
    f"UTF-8, commas: {', '.join(f'`{name}`' for name in PREDICTION_COLUMNS)}, and the features.",
)
"""Predictions in CSV."""
ORIGIN: Json = {
    "interval": about(
        nullable(by_name(ref("Interval"))), "By level, in percent; null for a model that cannot tell how sure it is."
    ),
    "fsd": about(_PERCENT, "The forecast standard deviation, in percent of the price."),
    "model_version": TEXT,
    "generation": about(nullable({"type": "integer"}), "The promotion by which the version served."),
    "valued_on": about(nullable(DATE), "The date that the price holds for."),
    "warnings": about(list_of(ref("Warning")), "Why the estimate deserves less trust."),
}

SCHEMAS: Mapping[str, Json] = {
    "Prediction": an_object(
        {
            "id": UUID,
            "prediction": PRICE,
            "input": about({"type": "object"}, "The house, as it was sent."),
            **ORIGIN,
            "explanation": ref("Explanation"),
        },
        optional=["explanation"],
    ),
    "Predictions": an_object({"predictions": about(list_of(ref("Prediction")), "One for each house, in order.")}),
    "Interval": an_object({"low": PRICE, "high": PRICE}),
    "Warning": an_object(
        {"code": TEXT, "message": TEXT, "feature": about(TEXT, "The feature that it is about.")}, optional=["feature"]
    ),
    "Explanation": an_object(
        {
            "unit": {"type": "string", "enum": [str(each) for each in Unit]},
            "base": about(NUMBER, "What the model says of a house that it knows nothing of, in the unit."),
            "base_price": PRICE,
            "contributions": list_of(
                an_object({"features": list_of(TEXT), "contribution": NUMBER, "percent": nullable(NUMBER)})
            ),
        }
    ),
    "Drift": an_object(
        {
            "model_version": TEXT,
            "examined": COUNT,
            "n": COUNT,
            "since": nullable(TIME),
            "out_of_range": about(_PERCENT, "The share of the estimates that warn of a feature, in percent."),
            "estimates": an_object(_SHIFT),
            "features": by_name(an_object({**_SHIFT, "out_of_range": _PERCENT})),
        }
    ),
}

OPERATIONS: Mapping[str, Operation] = {
    "POST /predict": Operation(
        "predict",
        "Estimates",
        {
            200: Answer(
                "Estimated and recorded: one house, or those of a list in its order.",
                {"oneOf": [ref("Prediction"), ref("Predictions")]},
                also={CSV: TABLE},
                headers=PACKED,
                always=["Vary"],
                links={
                    "sale": link("recordSaleOfPrediction", "Once the house is sold: tell for how much.", id="/id"),
                    "saleSoFar": link("getSaleOfPrediction", "The sale, once it was told.", id="/id"),
                    "again": link("getPrediction", "What is remembered of it.", id="/id"),
                    "erase": link("erasePrediction", "Forget it.", id="/id"),
                },
            )
        },
        problems=(
            *("not-json", "missing-feature", "no-explanation", *PACKABLE),
            *("invalid-houses", "invalid-query", "overloaded", "storage-unavailable", *SERVING),
            *("erased-predictions", "repeated-key"),
        ),
        parameters=[
            query("explain", {**FLAG, "default": False}, "Whether to say what moved each estimate. Always in JSON."),
            CONTENT_ENCODING,
            idempotency_key(
                "Makes it safe to send the request again: what came with a key is recorded once, and answered alike. "
                "Not with `explain`."
            ),
        ],
        body={JSON: {"schema": {"oneOf": [ref("House"), ref("Houses")]}}, CSV: {"schema": _HOUSES}},
        description="All houses of a list, or of a table, are estimated and recorded, or none is. A house may be "
        "refused although the schema accepts it: if it names a feature twice, or if it is so far from the sales that "
        "the model has no price for it.",
    ),
    "GET /drift": Operation(
        "getDrift",
        "Estimates",
        {200: Answer("The drift over the newest 10,000 estimates.", ref("Drift"))},
        problems=("no-snapshot", "storage-unavailable", *SERVING),
    ),
}
