"""The routes for what houses sold for that were estimated, and for the accuracy that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.domain.errors import InvalidSales
from housepredict.domain.sales import RealizedSale
from housepredict.entrypoints.answer_documents import accuracy_document, sale_document, sales_document, unmatched
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.csv_tables import sales_of_csv
from housepredict.entrypoints.http.access import require_access
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


async def sale_of_prediction(request: Request) -> Response:
    """The sale of one prediction: recorded, or looked up."""
    application, prediction = application_of(request), request.path_params["id"]
    if request.method != "POST":
        return await run_in_threadpool(_history, application, prediction)
    require_access(request)
    require_json(request.headers)
    body, key = await _body(request), idempotency_key(request.headers, InvalidSales)

    def record() -> Response:
        return _answer_one(application.record_sales.one(_named(decode(body), prediction), key))

    return await run_in_threadpool(record)


async def sales(request: Request) -> Response:
    """Record a sale, or several, all or none."""
    application = application_of(request)
    require_access(request)
    as_csv = is_csv(request.headers)
    read: Callable[[bytes], Any] = sales_of_csv if as_csv else decode
    body, key = await _body(request), idempotency_key(request.headers, InvalidSales)
    if as_csv:
        body = csv_body(request.headers, body, InvalidSales)

    def record() -> Response:
        given = read(body)
        if isinstance(given, list):
            return _answer(application.record_sales(given, key))
        return _answer_one(application.record_sales.one(given, key))

    return await run_in_threadpool(record)


async def accuracy(request: Request) -> Response:
    """How far estimates were off, by the sales that came back."""
    service = running_service(request.app)
    since, until = span_of_days(request.query_params)
    async with service.reviewing:
        review = await run_in_threadpool(service.application.review_accuracy, since, until)
    return json_response(accuracy_document(review, since, until))


async def _body(request: Request) -> bytes:
    estimator = running_service(request.app).estimator
    return await read_body(request.headers, request.receive, estimator.max_body, estimator.body_timeout)


def _named(given: object, prediction: str) -> object:
    """What was said of a sale, with the prediction that the path names."""
    if not isinstance(given, dict):
        return given
    named = RepeatingObject(given | {"prediction": prediction})
    named.repeated = [*getattr(given, "repeated", ()), *(["prediction"] if "prediction" in given else [])]
    return named


def _history(application: Application, prediction: str) -> Response:
    found = application.record_sales.history(prediction)
    if not found:
        detail = "No sale was recorded for this prediction: `POST` one here."
        raise Problem("not-found", 404, "Not found", detail)
    return json_response({**sale_document(found[-1]), "history": [sale_document(each) for each in found]})


def _answer_one(returned: RealizedSale) -> Response:
    waiting = unmatched([returned])
    return json_response({**sale_document(returned), "unmatched": waiting}, 202 if waiting else 201)


def _answer(returned: Sequence[RealizedSale]) -> Response:
    return json_response(sales_document(returned), 202 if unmatched(returned) else 201)


SALES_ROUTES = (
    Route("/predictions/{id}/sale", sale_of_prediction, methods=["GET", "POST"]),
    Route("/sales", sales, methods=["POST"]),
    Route("/accuracy", accuracy),
)
