"""What the document says of the estimates that are remembered."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.domain.usecases.manage_records import MAX_LAB_ID
from housepredict.entrypoints.http.openapi.estimate_operations import ORIGIN, PRICE, TABLE
from housepredict.entrypoints.http.openapi.operations import (
    COUNT,
    CSV,
    PACKED,
    TEXT,
    TIME,
    UUID,
    Answer,
    Json,
    Operation,
    about,
    an_object,
    in_path,
    link,
    list_of,
    nullable,
    query,
    ref,
)
from housepredict.entrypoints.http.queries import DEFAULT_LIMIT, MAX_LIMIT

SCHEMAS: Mapping[str, Json] = {
    "RecordedPrediction": about(
        an_object({"id": UUID, "predicted_price": PRICE, "created_at": TIME, **ORIGIN}),
        "A prediction that was recorded. The features of the house stand beside these fields.",
    ),
    "RecordedPredictions": an_object(
        {"predictions": about(list_of(ref("RecordedPrediction")), "Newest first."), "spool": ref("Backlog")},
        optional=["spool"],
    ),
    "Backlog": about(
        an_object(
            {
                "pending": COUNT,
                "oldest": nullable(TIME),
                "dead_letters": COUNT,
                "database": {"type": "string", "enum": ["available", "unavailable"]},
                "reason": nullable(TEXT),
            },
            optional=["reason"],
        ),
        "What has not reached the database yet.",
    ),
}

LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
_ID = in_path(
    "id",
    {"anyOf": [UUID, {"type": "integer", "minimum": 1, "maximum": MAX_LAB_ID}]},
    "The id of a prediction; of those that a tutorial's table had, also the number there.",
)

OPERATIONS: Mapping[str, Operation] = {
    "GET /predictions": Operation(
        "listPredictions",
        "Estimates",
        {
            200: Answer(
                "What was estimated, newest first.",
                ref("RecordedPredictions"),
                also={CSV: TABLE},
                headers={
                    **PACKED,
                    "Link": about(TEXT, 'Where older ones are, with `rel="next"`, if there may be some.'),
                },
                always=["Vary"],
                links={
                    "older": link("listPredictions", "What is older than the first.", before="/predictions/0/id"),
                    "sale": link(
                        "recordSaleOfPrediction", "Tell what the first of them sold for.", id="/predictions/0/id"
                    ),
                    "first": link("getPrediction", "The first of them alone.", id="/predictions/0/id"),
                    "erase": link("erasePrediction", "Forget the first of them.", id="/predictions/0/id"),
                },
            )
        },
        problems=("invalid-query", "storage-unavailable"),
        parameters=[
            query("limit", LIMIT, "How many to list."),
            query("before", UUID, "The id of a prediction: only what is older."),
        ],
    ),
    "GET /predictions/{id}": Operation(
        "getPrediction",
        "Estimates",
        {200: Answer("The prediction.", ref("RecordedPrediction"))},
        problems=("unknown-prediction", "storage-unavailable"),
        parameters=[_ID],
    ),
    "DELETE /predictions/{id}": Operation(
        "erasePrediction",
        "Estimates",
        {204: Answer("It is erased, and the sales recorded for it are.")},
        problems=("unknown-prediction", "storage-unavailable"),
        parameters=[_ID],
        protected=True,
        description="An id that is not known is erased as well: should its prediction wait somewhere, it is never "
        "recorded.",
    ),
}
