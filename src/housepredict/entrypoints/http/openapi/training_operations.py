"""What the document says of trainings."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Kind
from housepredict.domain.training_options import MAX_SECONDS, MAX_SEED, Algorithm, Effort
from housepredict.domain.training_status import TrainingState
from housepredict.entrypoints.http.openapi.model_operations import NOTES, REJECTED_ROWS
from housepredict.entrypoints.http.openapi.operations import (
    CONTENT_ENCODING,
    COUNT,
    FILE,
    FLAG,
    JSON,
    PACKABLE,
    SERVING,
    TEXT,
    TIME,
    UUID,
    Answer,
    Json,
    Operation,
    about,
    an_object,
    header,
    in_path,
    link,
    list_of,
    nullable,
    query,
    ref,
)
from housepredict.entrypoints.http.openapi.record_operations import LIMIT
from housepredict.entrypoints.http.uploads import TYPES

SCHEMAS: Mapping[str, Json] = {
    "Training": an_object(
        {
            "id": UUID,
            "state": {"type": "string", "enum": [str(each) for each in TrainingState]},
            "started_at": TIME,
            "ended_at": nullable(TIME),
            "progress": an_object({"done": COUNT, "total": COUNT}),
            "source": about(nullable(TEXT), "Where the sales are; null if they are synthetic or came back alone."),
            "synthetic": FLAG,
            "with_recorded": FLAG,
            "cancelling": FLAG,
            "model_version": nullable(TEXT),
            "promoted": nullable(FLAG),
            "reasons": list_of(TEXT),
            "error": nullable(TEXT),
        }
    ),
    "Trainings": an_object({"trainings": about(list_of(ref("Training")), "Newest first.")}),
    "Trained": an_object(
        {
            "message": TEXT,
            "model_version": TEXT,
            "promoted": FLAG,
            "reasons": list_of(TEXT),
            "rejected_rows": REJECTED_ROWS,
            "notes": NOTES,
            "intervals": nullable(ref("IntervalChoice")),
            "evaluation": ref("Evaluation"),
        }
    ),
}

_COLUMN: Json = {
    "type": "string",
    "minLength": 1,
    "pattern": "^[^\\u0000]*[^\\u0000\\s][^\\u0000]*$",
}
_TYPES: Json = {
    **list_of({"type": "string", "pattern": f"^[^\\u0000=]+=({'|'.join(Kind)})$"}),
    "uniqueItems": True,
}
_ID = in_path("id", UUID, "The id of a training.")
_LINKS: Json = {
    "progress": link("getTraining", "How far it is.", id="/id"),
    "cancel": link("cancelTraining", "Its end.", id="/id"),
}


ENCODINGS = ["utf-8", "cp1250", "cp1251", "cp1252", "mac_roman", "gb18030", "big5", "cp932", "cp949"]
"""Examples of encodings that CSV may be in."""


def _one_of(kind: type[Algorithm | Effort | PromotionPolicy]) -> Json:
    return {"type": "string", "enum": [str(each) for each in kind]}


OPERATIONS: Mapping[str, Operation] = {
    "POST /train": Operation(
        "train",
        "Trainings",
        {
            200: Answer("Trained.", ref("Trained")),
            202: Answer(
                "The training has begun, with `Prefer: respond-async`.",
                ref("Training"),
                headers={"Location": TEXT, "Preference-Applied": TEXT},
                always=("Location", "Preference-Applied"),
                links=_LINKS,
            ),
        },
        problems=(
            *("training-in-progress", "training-cancelled", "unusable-sales", "training-failed", "missing-extra"),
            *(*PACKABLE, "invalid-query", "storage-unavailable", *SERVING),
        ),
        parameters=[
            CONTENT_ENCODING,
            header("Prefer", TEXT, "`respond-async`: answer as soon as the training has begun (RFC 7240)."),
            query("from_sales", FLAG, "Whether to train on the sales that came back, too."),
            query("price", _COLUMN, "The column of prices."),
            query("sale_date", _COLUMN, "The column of sale dates."),
            query("house_id", _COLUMN, "The column that tells houses apart."),
            query("feature", _COLUMN, "Use these columns alone.", repeatable=True),
            query("exclude", _COLUMN, "Leave these columns out.", repeatable=True),
            query("closed", _COLUMN, "The categories of these columns are complete.", repeatable=True),
            query("allow", _COLUMN, "Use these columns though they seem to give the price away.", repeatable=True),
            query("type", _TYPES, "What a column is: COLUMN=KIND, once for a column."),
            query("algorithm", _one_of(Algorithm), "How to fit."),
            query("effort", _one_of(Effort), "How much the search for the best model may cost."),
            query("seed", {"type": "integer", "minimum": 0, "maximum": MAX_SEED}, "What chance begins with."),
            query("time_limit", {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS}, "In seconds."),
            query(
                "encoding",
                {"type": "string", "examples": ENCODINGS},
                "The encoding of CSV: any that Python knows; told by its bytes if not given.",
            ),
            query("promote", _one_of(PromotionPolicy), "When the new version is to serve."),
        ],
        body={
            **{media_type: {"schema": FILE} for media_type in TYPES},
            JSON: {"schema": {"type": "object", "maxProperties": 0}},
        },
        body_required=False,
        protected=True,
        description="Without a body, or with an empty JSON object, on the sales of the version in service as they "
        "are now; `from_sales` is the only parameter then. CSV may come with `Content-Encoding: gzip`. The first bytes "
        "of the body tell CSV, gzip and Parquet apart; a body of another type is refused.",
    ),
    "GET /trainings": Operation(
        "listTrainings",
        "Trainings",
        {
            200: Answer(
                "Trainings under way and over, newest first.",
                ref("Trainings"),
                links={"newest": link("getTraining", "The newest of them.", id="/trainings/0/id")},
            )
        },
        problems=("invalid-query", "model-store-unavailable"),
        parameters=[query("limit", LIMIT, "How many to list.")],
        protected=True,
    ),
    "GET /trainings/{id}": Operation(
        "getTraining",
        "Trainings",
        {200: Answer("How far it is, and what came of it.", ref("Training"))},
        problems=("unknown-training", "model-store-unavailable"),
        parameters=[_ID],
        protected=True,
    ),
    "DELETE /trainings/{id}": Operation(
        "cancelTraining",
        "Trainings",
        {202: Answer("It is asked to end.", ref("Training"))},
        problems=("unknown-training", "training-ended", "model-store-unavailable"),
        parameters=[_ID],
        protected=True,
    ),
}
