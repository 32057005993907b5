"""What the document says of sales that come back, and of the accuracy that follows from them."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.domain.estimates import MAX_PRICE
from housepredict.entrypoints.http.openapi.model_operations import ACCURACY, OUT_OF_RANGE
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
    in_path,
    link,
    list_of,
    nullable,
    query,
    ref,
)

_PREDICTION = about(UUID, "The id of the prediction that it is the sale of.")
_TOLD: Json = {
    "price": {
        "type": "number",
        "minimum": 0.005,
        "maximum": MAX_PRICE - 0.005,
        "description": "What the house sold for, in the currency of the estimates; rounded to two decimals.",
    },
    "date": about(DATE, "The day of the sale, tomorrow (UTC) at the latest."),
}
_SALE: Json = {
    "id": UUID,
    "prediction": _PREDICTION,
    "price": NUMBER,
    "date": DATE,
    "recorded_at": TIME,
    "status": {"type": "string", "enum": ["matched", "unmatched"]},
    "estimate": about(nullable(NUMBER), "What was estimated, if the prediction is known."),
    "ratio": about(nullable(NUMBER), "estimate / price."),
    "model_version": nullable(TEXT),
}
_UNMATCHED = about(COUNT, "How many are sales of predictions that nobody knows yet.")


def _given(fields: Json) -> Json:
    return {**an_object(fields), "additionalProperties": False}


SCHEMAS: Mapping[str, Json] = {
    "SaleOfPrediction": {**_given(_TOLD), "examples": [{"price": 260000, "date": "2025-06-02"}]},
    "Sale": {
        **_given({"prediction": _PREDICTION, **_TOLD}),
        "examples": [
            {"prediction": "01970000-0000-7000-8000-000000000001", "price": 260000, "date": "2025-06-02"},
        ],
    },
    "RecordedSale": an_object(_SALE),
    "RecordedSaleAlone": an_object({**_SALE, "unmatched": _UNMATCHED}),
    "RecordedSales": an_object({"sales": list_of(ref("RecordedSale")), "unmatched": _UNMATCHED}),
    "SaleHistory": an_object({**_SALE, "history": about(list_of(ref("RecordedSale")), "Oldest first.")}),
    "Measured": an_object(
        {
            **ACCURACY,
            "bounds": by_name(ref("Bounds")),
            "coverage": list_of(ref("Coverage")),
            "out_of_range": OUT_OF_RANGE,
        }
    ),
    "Accuracy": an_object(
        {
            "since": nullable(DATE),
            "until": nullable(DATE),
            "sales": COUNT,
            "unmatched": COUNT,
            "estimated_after_sale": COUNT,
            "truncated": FLAG,
            "overall": nullable(ref("Measured")),
            "by_version": by_name(ref("Measured")),
        }
    ),
}

_TABLE = about(
    FILE,
    "UTF-8, commas or semicolons, a header and the columns `prediction` (or `prediction_id` or `id`), `price` and "
    "`date` in any order.",
)
_KEY = idempotency_key("Makes it safe to send the request again: what came with a key is recorded once.")
_ID = in_path("id", UUID, "The id of a prediction.")
_PROBLEMS = (
    *("not-json", *PACKABLE),
    *("invalid-sales", "repeated-key", "erased-sales", "storage-unavailable"),
)
_LINKS: Json = {"sale": link("getSaleOfPrediction", "The sale that counts, and its history.", id="/prediction")}

OPERATIONS: Mapping[str, Operation] = {
    "POST /predictions/{id}/sale": Operation(
        "recordSaleOfPrediction",
        "Sales",
        {
            201: Answer("Recorded.", ref("RecordedSaleAlone"), links=_LINKS),
            202: Answer("Recorded, of a prediction that is not known yet.", ref("RecordedSaleAlone"), links=_LINKS),
        },
        problems=_PROBLEMS,
        parameters=[_ID, _KEY, CONTENT_ENCODING],
        body={JSON: {"schema": ref("SaleOfPrediction")}},
        protected=True,
        description="Another sale of the same prediction corrects the one before.",
    ),
    "GET /predictions/{id}/sale": Operation(
        "getSaleOfPrediction",
        "Sales",
        {200: Answer("The sale that counts, and all that were recorded.", ref("SaleHistory"))},
        problems=("not-found", "invalid-sales", "storage-unavailable"),
        parameters=[_ID],
    ),
    "POST /sales": Operation(
        "recordSales",
        "Sales",
        {
            201: Answer("Recorded.", {"oneOf": [ref("RecordedSaleAlone"), ref("RecordedSales")]}),
            202: Answer(
                "Recorded, some of predictions that are not known yet.",
                {"oneOf": [ref("RecordedSaleAlone"), ref("RecordedSales")]},
            ),
        },
        problems=_PROBLEMS,
        parameters=[_KEY, CONTENT_ENCODING],
        body={
            JSON: {"schema": {"oneOf": [ref("Sale"), ref("Sales")]}},
            CSV: {
                "schema": _TABLE,
                "example": "prediction,price,date\n01970000-0000-7000-8000-000000000002,310000,2025-06-03\n",
            },
        },
        protected=True,
        description="All are recorded, or none is. What a list says twice of one prediction has to be the same.",
    ),
    "GET /accuracy": Operation(
        "getAccuracy",
        "Sales",
        {200: Answer("How far estimates were off, as a whole and by model version.", ref("Accuracy"))},
        problems=("invalid-query", "storage-unavailable"),
        parameters=[
            query("since", DATE, "The first day of sale that counts."),
            query("until", DATE, "The last day of sale that counts."),
        ],
    ),
}
