"""Routes for recorded predictions: list, get and erase them, and measure drift."""

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
from housepredict.entrypoints.composition import predictions_to_csv
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.problems import address
from housepredict.entrypoints.http.queries import LIMIT, page
from housepredict.entrypoints.http.requests import application_of, compressed_response, prefers_csv
from housepredict.entrypoints.http.responses import HEADERS, encode_json, json_response
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
    "The id of the prediction, or the number of a prediction that was imported from the tutorial's table.",
)


@PREDICTIONS.route(
    "GET /predictions",
    "listPredictions",
    openapi.Answer(
        "The predictions, newest first.",
        RecordedPredictionsAnswer,
        also={openapi.CSV: ESTIMATES_IN_CSV},
        headers={
            **openapi.COMPRESSIBLE,
            "Link": openapi.about(openapi.TEXT, 'A link to the next page (`rel="next"`), if there may be one.'),
        },
        always=["Vary"],
        links={
            "older": openapi.link(
                "listPredictions", "List predictions older than the first.", before="/predictions/0/id"
            ),
            "sale": openapi.link(
                "recordSaleOfPrediction",
                "Record the sale of the first prediction's house.",
                id="/predictions/0/id",
            ),
            "first": openapi.link("getPrediction", "Get the first prediction.", id="/predictions/0/id"),
            "erase": openapi.link("erasePrediction", "Erase the first prediction.", id="/predictions/0/id"),
        },
    ),
    problems=("invalid-query", "storage-unavailable"),
    parameters=[
        openapi.query("limit", LIMIT, "The maximum number of predictions."),
        openapi.query("before", openapi.ID, "List only predictions older than the one with this id."),
    ],
)
def predictions(request: Request) -> Response:
    """List predictions, newest first (?limit=10&before=ID)."""
    limit, before = page(request.query_params)
    recent, backlog = application_of(request).records.recent_and_backlog(limit, before)
    older = f'<{address(request, "/predictions")}?limit={limit}&before={recent[-1].id}>; rel="next"' if recent else ""
    headers = {"Link": older} if len(recent) == limit else {}
    if prefers_csv(request.headers):
        return compressed_response(predictions_to_csv(recent), request.headers, openapi.CSV, headers)
    content = encode_json(document(recent, RecordedPredictionsAnswer, spool=backlog or None))
    return compressed_response(content, request.headers, "application/json", headers)


@PREDICTIONS.route(
    "GET /predictions/{id}",
    "getPrediction",
    openapi.Answer("The prediction.", RecordedPredictionAnswer),
    problems=("unknown-prediction", "storage-unavailable"),
    parameters=[_ID],
)
def get_prediction(request: Request) -> Response:
    """Get a prediction."""
    prediction = application_of(request).records.one(request.path_params["id"])
    return json_response(document(prediction, RecordedPredictionAnswer))


@PREDICTIONS.route(
    "DELETE /predictions/{id}",
    "erasePrediction",
    openapi.Answer("The prediction and its sales are erased.", status=204),
    problems=("unknown-prediction", "storage-unavailable"),
    parameters=[_ID],
    protected=True,
    description="An unknown id is marked as erased, too. If another process has not stored its prediction yet, that "
    "prediction will never be stored.",
)
def erase(request: Request) -> Response:
    """Erase a prediction and its recorded sales."""
    application_of(request).records.erase([request.path_params["id"]])
    return Response(status_code=204, headers=HEADERS)


@DRIFT.route(
    "GET /drift",
    "getDrift",
    openapi.Answer("The drift of the latest 10,000 estimates.", DriftAnswer),
    problems=("no-snapshot", "storage-unavailable", *openapi.SERVING),
)
async def drift(request: Request) -> Response:
    """Measure how far recent houses and estimates have drifted from the training data."""
    service = running_service(request.app)
    async with service.reviewing:
        review = await run_in_threadpool(service.application.review_drift)
    return json_response(document(review, DriftAnswer))
