"""The predictions that are recorded: listed, looked up, erased, and their drift."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.usecases.manage_records import MAX_LAB_ID
from housepredict.entrypoints.answers import (
    BacklogAnswer,
    DriftAnswer,
    RecordedPredictionAnswer,
    RecordedPredictionsAnswer,
)
from housepredict.entrypoints.composition import csv_of
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.problems import address
from housepredict.entrypoints.http.queries import LIMIT, page
from housepredict.entrypoints.http.requests import application_of, prefers_csv, response
from housepredict.entrypoints.http.responses import HEADERS, encoded, json_response
from housepredict.entrypoints.http.routes.predict_routes import ESTIMATES_IN_CSV
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.json_documents import document

DRIFT = openapi.Resource("Estimates", openapi.named(DriftAnswer))
PREDICTIONS = openapi.Resource(
    "Estimates", openapi.named(RecordedPredictionAnswer, RecordedPredictionsAnswer, BacklogAnswer)
)
_ID = openapi.in_path(
    "id",
    {"anyOf": [openapi.ID, {"type": "integer", "minimum": 1, "maximum": MAX_LAB_ID}]},
    "The id of a prediction; of those that a tutorial's table had, also the number there.",
)


@PREDICTIONS.route(
    "GET /predictions",
    "listPredictions",
    openapi.Answer(
        "What was estimated, newest first.",
        RecordedPredictionsAnswer,
        also={openapi.CSV: ESTIMATES_IN_CSV},
        headers={
            **openapi.PACKED,
            "Link": openapi.about(openapi.TEXT, 'Where older ones are, with `rel="next"`, if there may be some.'),
        },
        always=["Vary"],
        links={
            "older": openapi.link("listPredictions", "What is older than the first.", before="/predictions/0/id"),
            "sale": openapi.link(
                "recordSaleOfPrediction", "Tell what the first of them sold for.", id="/predictions/0/id"
            ),
            "first": openapi.link("getPrediction", "The first of them alone.", id="/predictions/0/id"),
            "erase": openapi.link("erasePrediction", "Forget the first of them.", id="/predictions/0/id"),
        },
    ),
    problems=("invalid-query", "storage-unavailable"),
    parameters=[
        openapi.query("limit", LIMIT, "How many to list."),
        openapi.query("before", openapi.ID, "The id of a prediction: only what is older."),
    ],
)
def predictions(request: Request) -> Response:
    """Get recent predictions, newest first (?limit=10&before=ID)."""
    limit, before = page(request.query_params)
    found, backlog = application_of(request).records.recent_and_backlog(limit, before)
    older = f'<{address(request, "/predictions")}?limit={limit}&before={found[-1].id}>; rel="next"' if found else ""
    headers = {"Link": older} if len(found) == limit else {}
    if prefers_csv(request.headers):
        return response(csv_of(found), request.headers, openapi.CSV, headers)
    listed = document(found, RecordedPredictionsAnswer, spool=backlog or None)
    return response(encoded(listed), request.headers, "application/json", headers)


@PREDICTIONS.route(
    "GET /predictions/{id}",
    "getPrediction",
    openapi.Answer("The prediction.", RecordedPredictionAnswer),
    problems=("unknown-prediction", "storage-unavailable"),
    parameters=[_ID],
)
def prediction(request: Request) -> Response:
    """Get one prediction."""
    found = application_of(request).records.one(request.path_params["id"])
    return json_response(document(found, RecordedPredictionAnswer))


@PREDICTIONS.route(
    "DELETE /predictions/{id}",
    "erasePrediction",
    openapi.Answer("It is erased, and the sales recorded for it are.", status=204),
    problems=("unknown-prediction", "storage-unavailable"),
    parameters=[_ID],
    protected=True,
    description="An id that is not known is erased as well: should its prediction wait somewhere, it is never "
    "recorded.",
)
def erase(request: Request) -> Response:
    """Erase a prediction and the sales recorded for it."""
    application_of(request).records.erase([request.path_params["id"]])
    return Response(status_code=204, headers=HEADERS)


@DRIFT.route(
    "GET /drift",
    "getDrift",
    openapi.Answer("The drift over the newest 10,000 estimates.", DriftAnswer),
    problems=("no-snapshot", "storage-unavailable", *openapi.SERVING),
)
async def drift(request: Request) -> Response:
    """How far houses and estimates have moved from what the model was trained on."""
    service = running_service(request.app)
    async with service.reviewing:
        review = await run_in_threadpool(service.application.review_drift)
    return json_response(document(review, DriftAnswer))
