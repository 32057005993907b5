"""Routes for realized sales: record and get sales, and use them to measure the accuracy of estimates."""

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
from housepredict.entrypoints.composition import read_sales_csv
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.queries import date_range
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
        "description": "The sale price, in the currency of the estimates. It is rounded to two decimals.",
    },
    "date": openapi.about(openapi.DATE, "The date of the sale, no later than tomorrow (UTC)."),
}


def _closed(fields: openapi.Json) -> openapi.Json:
    return {**openapi.an_object(fields), "additionalProperties": False}


def _sales_schema(_version: ModelVersion | None, settings: Settings) -> openapi.Json:
    return {**openapi.list_of(openapi.ref("Sale")), "minItems": 1, "maxItems": settings.max_batch}


SALES = openapi.Resource(
    "Sales",
    {
        "Sales": _sales_schema,
        "SaleOfPrediction": {**_closed(_SALE), "examples": [{"price": 260000, "date": "2025-06-02"}]},
        "Sale": {
            **_closed({"prediction": openapi.about(openapi.ID, "The id of the prediction for the house."), **_SALE}),
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

_KEY = openapi.idempotency_header("Makes retries safe: requests with the same key are recorded once.")
_ID = openapi.in_path("id", openapi.ID, "The id of the prediction.")
_PROBLEMS = (
    *("not-json", *openapi.BODY_PROBLEMS),
    *("invalid-sales", "repeated-key", "erased-sales", "storage-unavailable"),
)
_LINKS: openapi.Json = {
    "sale": openapi.link("getSaleOfPrediction", "Get the current sale and its history.", id="/prediction")
}


@SALES.route(
    "POST /predictions/{id}/sale",
    "recordSaleOfPrediction",
    openapi.Answer("The recorded sale.", RecordedSaleAloneAnswer, links=_LINKS, status=201),
    openapi.Answer(
        "The recorded sale. Its prediction is not stored yet.", RecordedSaleAloneAnswer, links=_LINKS, status=202
    ),
    problems=_PROBLEMS,
    parameters=[_ID, _KEY, openapi.CONTENT_ENCODING],
    body={openapi.JSON: {"schema": openapi.ref("SaleOfPrediction")}},
    protected=True,
    description="A sale recorded later for the same prediction replaces the earlier one.",
)
async def sale_of_prediction(request: Request) -> Response:
    """Record a sale for a prediction: {"price": …, "date": "YYYY-MM-DD"}."""
    application, prediction = application_of(request), request.path_params["id"]
    require_json(request.headers)
    body, key = await _read_body(request), idempotency_key(request.headers, InvalidSales)

    def record() -> Response:
        return _answer_one(application.record_sales.one(_with_prediction(decode(body), prediction), key))

    return await run_in_threadpool(record)


@SALES.route(
    "GET /predictions/{id}/sale",
    "getSaleOfPrediction",
    openapi.Answer("The current sale, and every sale recorded for the prediction.", SaleHistoryAnswer),
    problems=("not-found", "invalid-sales", "storage-unavailable"),
    parameters=[_ID],
)
def history_of_sale(request: Request) -> Response:
    """Get the current sale for a prediction, and every sale recorded for that prediction."""
    history = application_of(request).record_sales.history(request.path_params["id"])
    if not history:
        raise Problem("not-found", "No sale is recorded for this prediction. `POST` one to this address.")
    return json_response(document(history, SaleHistoryAnswer))


@SALES.route(
    "POST /sales",
    "recordSales",
    openapi.Answer("The recorded sales.", (RecordedSaleAloneAnswer, RecordedSalesAnswer), status=201),
    openapi.Answer(
        "The recorded sales. Some of their predictions are not stored yet.",
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
                "UTF-8, separated by commas or semicolons, with a header. Columns in any order: `prediction` (or "
                "`prediction_id` or `id`), `price` and `date`.",
            ),
            "example": "prediction,price,date\n01970000-0000-7000-8000-000000000002,310000,2025-06-03\n",
        },
    },
    protected=True,
    description="Either all sales are recorded, or none is. If a list contains several sales for the same prediction, "
    "they must be identical.",
)
async def sales(request: Request) -> Response:
    """Record sales: one, a list, or CSV (columns prediction, price, date)."""
    application = application_of(request)
    as_csv = is_csv(request.headers)
    read: Callable[[bytes], Any] = read_sales_csv if as_csv else decode
    body, key = await _read_body(request), idempotency_key(request.headers, InvalidSales)
    if as_csv:
        body = csv_body(request.headers, body, InvalidSales)

    def record() -> Response:
        content = read(body)
        if isinstance(content, list):
            return _answer(application.record_sales(content, key))
        return _answer_one(application.record_sales.one(content, key))

    return await run_in_threadpool(record)


@SALES.route(
    "GET /accuracy",
    "getAccuracy",
    openapi.Answer("The accuracy of all estimates, and of each model version.", AccuracyAnswer),
    problems=("invalid-query", "storage-unavailable"),
    parameters=[
        openapi.query("since", openapi.DATE, "Include sales from this date on."),
        openapi.query("until", openapi.DATE, "Include sales up to this date."),
    ],
)
async def accuracy(request: Request) -> Response:
    """Measure the accuracy of estimates against realized sales (?since=YYYY-MM-DD&until=YYYY-MM-DD)."""
    service = running_service(request.app)
    since, until = date_range(request.query_params)
    # A review may read 100,000 sales. One review at a time leaves CPU time and threads for other requests.
    async with service.reviewing:
        review = await run_in_threadpool(service.application.review_accuracy, since, until)
    return json_response(document(review, AccuracyAnswer, since=since, until=until))


async def _read_body(request: Request) -> bytes:
    estimator = running_service(request.app).estimator
    return await read_body(request.headers, request.receive, estimator.max_body, estimator.body_timeout)


def _with_prediction(sale: object, prediction: str) -> object:
    """Add the prediction id from the path to the sale from the body.

    If the body contains a prediction id, too, it is reported as a duplicate.
    """
    if not isinstance(sale, dict):
        return sale
    complete = RepeatingObject(sale | {"prediction": prediction})
    complete.repeated = [*getattr(sale, "repeated", ()), *(["prediction"] if "prediction" in sale else [])]
    return complete


def _answer_one(sale: RealizedSale) -> Response:
    return json_response(document(sale, RecordedSaleAloneAnswer), 201 if sale.prediction else 202)


def _answer(sales: Sequence[RealizedSale]) -> Response:
    return json_response(document(sales, RecordedSalesAnswer), 202 if unmatched(sales) else 201)
