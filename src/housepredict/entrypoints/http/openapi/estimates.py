"""What the document says of estimates: asking for them, those that were given, and how far they have moved."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.domain.drift import Movement
from housepredict.domain.explanations import Unit
from housepredict.entrypoints.http.openapi.parts import (
    COUNT,
    DATE,
    FLAG,
    JSON,
    NUMBER,
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
from housepredict.entrypoints.http.queries import DEFAULT_LIMIT, MAX_LIMIT

_PRICE: Json = {"type": "number", "minimum": 0, "description": "In the currency of the sales, two decimals."}
_PERCENT = nullable(NUMBER)
_SHIFT: Json = {
    "psi": about(_PERCENT, "The population stability index."),
    "chance": about(_PERCENT, "What it stays below in 99 of 100 cases if nothing moved."),
    "movement": {"type": "string", "enum": [str(each) for each in Movement]},
    "bins": list_of(an_object({"bin": TEXT, "expected": NUMBER, "actual": NUMBER})),
}
_ORIGIN: Json = {
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
            "prediction": _PRICE,
            "input": about({"type": "object"}, "The house, as it was sent."),
            **_ORIGIN,
            "explanation": ref("Explanation"),
        },
        optional=["explanation"],
    ),
    "Predictions": an_object({"predictions": about(list_of(ref("Prediction")), "One for each house, in order.")}),
    "Interval": an_object({"low": _PRICE, "high": _PRICE}),
    "Warning": an_object(
        {"code": TEXT, "message": TEXT, "feature": about(TEXT, "The feature that it is about.")}, optional=["feature"]
    ),
    "Explanation": an_object(
        {
            "unit": {"type": "string", "enum": [str(each) for each in Unit]},
            "base": about(NUMBER, "What the model says of a house that it knows nothing of, in the unit."),
            "base_price": _PRICE,
            "contributions": list_of(
                an_object({"features": list_of(TEXT), "contribution": NUMBER, "percent": nullable(NUMBER)})
            ),
        }
    ),
    "RecordedPrediction": about(
        an_object({"id": UUID, "predicted_price": _PRICE, "created_at": TIME, **_ORIGIN}),
        "A prediction that was recorded. The features of the house stand beside these fields.",
    ),
    "RecordedPredictions": an_object(
        {"predictions": about(list_of(ref("RecordedPrediction")), "Newest first."), "behind": ref("Backlog")},
        optional=["behind"],
    ),
    "Backlog": about(
        an_object(
            {
                "waiting": COUNT,
                "oldest": nullable(TIME),
                "set_aside": COUNT,
                "database": {"type": "string", "enum": ["available", "unavailable"]},
                "reason": nullable(TEXT),
            },
            optional=["reason"],
        ),
        "What has not reached the database yet.",
    ),
    "Drift": an_object(
        {
            "model_version": TEXT,
            "looked_at": COUNT,
            "n": COUNT,
            "since": nullable(TIME),
            "out_of_range": about(_PERCENT, "The share of the estimates that warn of a feature, in percent."),
            "estimates": an_object(_SHIFT),
            "features": by_name(an_object({**_SHIFT, "out_of_range": _PERCENT})),
        }
    ),
}

LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}

OPERATIONS: Mapping[str, Operation] = {
    "POST /predict": Operation(
        "predict",
        "Estimates",
        {
            200: Answer(
                "Estimated and recorded: one house, or those of a list in its order.",
                {"oneOf": [ref("Prediction"), ref("Predictions")]},
                links={
                    "sale": link("recordSaleOfPrediction", "Once the house is sold: tell for how much.", id="/id"),
                    "saleSoFar": link("getSaleOfPrediction", "The sale, once it was told.", id="/id"),
                },
            )
        },
        problems=(
            *("not-json", "missing-feature", "no-explanation", "body-too-large", "unsupported-media-type"),
            *("invalid-houses", "invalid-query", "overloaded", "storage-unavailable", *SERVING),
            *("erased-predictions", "repeated-key"),
        ),
        parameters=[
            query("explain", {**FLAG, "default": False}, "Whether to say what moved each estimate."),
            idempotency_key(
                "Makes it safe to send the request again: what came with a key is recorded once, and answered alike. "
                "Not with `explain`."
            ),
        ],
        body={JSON: {"schema": {"oneOf": [ref("House"), ref("Houses")]}}},
        description="All houses of a list are estimated and recorded, or none is. A house may be refused although the "
        "schema accepts it: if it names a feature twice, or if it is so far from the sales that the model has no price "
        "for it.",
    ),
    "GET /predictions": Operation(
        "listPredictions",
        "Estimates",
        {
            200: Answer(
                "What was estimated, newest first.",
                ref("RecordedPredictions"),
                headers={"Link": about(TEXT, 'Where older ones are, with `rel="next"`, if there may be some.')},
                links={
                    "older": link("listPredictions", "What is older than the first.", before="/predictions/0/id"),
                    "sale": link(
                        "recordSaleOfPrediction", "Tell what the first of them sold for.", id="/predictions/0/id"
                    ),
                },
            )
        },
        problems=("invalid-query", "storage-unavailable"),
        parameters=[
            query("limit", LIMIT, "How many to list."),
            query("before", UUID, "The id of a prediction: only what is older."),
        ],
    ),
    "GET /drift": Operation(
        "getDrift",
        "Estimates",
        {200: Answer("The drift over the newest 10,000 estimates.", ref("Drift"))},
        problems=("no-snapshot", "storage-unavailable", *SERVING),
    ),
}
