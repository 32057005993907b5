"""The routes for what houses sold for that were estimated, and for the accuracy that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.errors import InvalidSales
from housepredict.domain.estimates import MAX_PRICE
from housepredict.domain.models import ModelVersion
from housepredict.domain.sales import RealizedSale
from housepredict.entrypoints.answers import (
    AccuracyAnswer,
    MeasuredAnswer,
    RecordedSaleAloneAnswer,
    RecordedSaleAnswer,
    RecordedSalesAnswer,
    SaleHistoryAnswer,
    unmatched,
)
from housepredict.entrypoints.composition import recorded_sales_of_csv
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.queries import span_of_days
from housepredict.entrypoints.http.requests import (
    RepeatingObject,
    application_of,
    csv_body,
    decode,
    idempotency_key,
    is_csv,
    read_body,
    require_json,
)
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.settings import Settings

_SALE: openapi.Json = {
    "price": {
        "type": "number",
        "minimum": 0.005,
        "maximum": MAX_PRICE - 0.005,
        "description": "What the house sold for, in the currency of the estimates; rounded to two decimals.",
    },
    "date": openapi.about(openapi.DATE, "The day of the sale, tomorrow (UTC) at the latest."),
}


def _sent(fields: openapi.Json) -> openapi.Json:
    return {**openapi.an_object(fields), "additionalProperties": False}


def _sales_schema(_version: ModelVersion | None, settings: Settings) -> openapi.Json:
    return {**openapi.list_of(openapi.ref("Sale")), "minItems": 1, "maxItems": settings.max_batch}


SALES = openapi.Resource(
    "Sales",
    {
        "Sales": _sales_schema,
        "SaleOfPrediction": {**_sent(_SALE), "examples": [{"price": 260000, "date": "2025-06-02"}]},
        "Sale": {
            **_sent(
                {"prediction": openapi.about(openapi.ID, "The id of the prediction that it is the sale of."), **_SALE}
            ),
            "examples": [
                {"prediction": "01970000-0000-7000-8000-000000000001", "price": 260000, "date": "2025-06-02"},
            ],
        },
        **openapi.named(
            RecordedSaleAnswer,
            RecordedSaleAloneAnswer,
            RecordedSalesAnswer,
            SaleHistoryAnswer,
            MeasuredAnswer,
            AccuracyAnswer,
        ),
    },
)

_KEY = openapi.idempotency_header("Makes it safe to send the request again: what came with a key is recorded once.")
_ID = openapi.in_path("id", openapi.ID, "The id of a prediction.")
_PROBLEMS = (
    *("not-json", *openapi.PACKABLE),
    *("invalid-sales", "repeated-key", "erased-sales", "storage-unavailable"),
)
_LINKS: openapi.Json = {
    "sale": openapi.link("getSaleOfPrediction", "The sale that counts, and its history.", id="/prediction")
}


@SALES.route(
    "POST /predictions/{id}/sale",
    "recordSaleOfPrediction",
    openapi.Answer("Recorded.", RecordedSaleAloneAnswer, links=_LINKS, status=201),
    openapi.Answer(
        "Recorded, of a prediction that is not known yet.", RecordedSaleAloneAnswer, links=_LINKS, status=202
    ),
    problems=_PROBLEMS,
    parameters=[_ID, _KEY, openapi.CONTENT_ENCODING],
    body={openapi.JSON: {"schema": openapi.ref("SaleOfPrediction")}},
    protected=True,
    description="Another sale of the same prediction corrects the one before.",
)
async def sale_of_prediction(request: Request) -> Response:
    """Record what the house of a prediction sold for: {"price": …, "date": "YYYY-MM-DD"}."""
    application, prediction = application_of(request), request.path_params["id"]
    require_json(request.headers)
    body, key = await _body(request), idempotency_key(request.headers, InvalidSales)

    def record() -> Response:
        return _answer_one(application.record_sales.one(_named(decode(body), prediction), key))

    return await run_in_threadpool(record)


@SALES.route(
    "GET /predictions/{id}/sale",
    "getSaleOfPrediction",
    openapi.Answer("The sale that counts, and all that were recorded.", SaleHistoryAnswer),
    problems=("not-found", "invalid-sales", "storage-unavailable"),
    parameters=[_ID],
)
def history_of_sale(request: Request) -> Response:
    """Get the sale of a prediction, and what was recorded before it."""
    history = application_of(request).record_sales.history(request.path_params["id"])
    if not history:
        detail = "No sale was recorded for this prediction: `POST` one here."
        raise Problem("not-found", 404, "Not found", detail)
    return json_response(document(history, SaleHistoryAnswer))


@SALES.route(
    "POST /sales",
    "recordSales",
    openapi.Answer("Recorded.", (RecordedSaleAloneAnswer, RecordedSalesAnswer), status=201),
    openapi.Answer(
        "Recorded, some of predictions that are not known yet.",
        (RecordedSaleAloneAnswer, RecordedSalesAnswer),
        status=202,
    ),
    problems=_PROBLEMS,
    parameters=[_KEY, openapi.CONTENT_ENCODING],
    body={
        openapi.JSON: {"schema": {"oneOf": [openapi.ref("Sale"), openapi.ref("Sales")]}},
        openapi.CSV: {
            "schema": openapi.about(
                openapi.FILE,
                "UTF-8, commas or semicolons, a header and the columns `prediction` (or `prediction_id` or "
                "`id`), `price` and `date` in any order.",
            ),
            "example": "prediction,price,date\n01970000-0000-7000-8000-000000000002,310000,2025-06-03\n",
        },
    },
    protected=True,
    description="All are recorded, or none is. What a list says twice of one prediction has to be the same.",
)
async def sales(request: Request) -> Response:
    """Record sales: one, a list, or CSV (columns prediction, price, date)."""
    application = application_of(request)
    as_csv = is_csv(request.headers)
    read: Callable[[bytes], Any] = recorded_sales_of_csv if as_csv else decode
    body, key = await _body(request), idempotency_key(request.headers, InvalidSales)
    if as_csv:
        body = csv_body(request.headers, body, InvalidSales)

    def record() -> Response:
        given = read(body)
        if isinstance(given, list):
            return _answer(application.record_sales(given, key))
        return _answer_one(application.record_sales.one(given, key))

    return await run_in_threadpool(record)


@SALES.route(
    "GET /accuracy",
    "getAccuracy",
    openapi.Answer("How far estimates were off, as a whole and by model version.", AccuracyAnswer),
    problems=("invalid-query", "storage-unavailable"),
    parameters=[
        openapi.query("since", openapi.DATE, "The first day of sale that counts."),
        openapi.query("until", openapi.DATE, "The last day of sale that counts."),
    ],
)
async def accuracy(request: Request) -> Response:
    """Measure the estimates by the sales that came back (?since=YYYY-MM-DD&until=YYYY-MM-DD)."""
    service = running_service(request.app)
    since, until = span_of_days(request.query_params)
    # it may read and measure 100,000 sales: one at a time leaves estimates room, and other routes their threads
    async with service.reviewing:
        review = await run_in_threadpool(service.application.review_accuracy, since, until)
    return json_response(document(review, AccuracyAnswer, since=since, until=until))


async def _body(request: Request) -> bytes:
    estimator = running_service(request.app).estimator
    return await read_body(request.headers, request.receive, estimator.max_body, estimator.body_timeout)


def _named(given: object, prediction: str) -> object:
    """What was said of a sale, with the prediction that the path names."""
    if not isinstance(given, dict):
        return given
    sale = RepeatingObject(given | {"prediction": prediction})
    sale.repeated = [*getattr(given, "repeated", ()), *(["prediction"] if "prediction" in given else [])]
    return sale


def _answer_one(sale: RealizedSale) -> Response:
    return json_response(document(sale, RecordedSaleAloneAnswer), 201 if sale.prediction else 202)


def _answer(sales: Sequence[RealizedSale]) -> Response:
    return json_response(document(sales, RecordedSalesAnswer), 202 if unmatched(sales) else 201)
