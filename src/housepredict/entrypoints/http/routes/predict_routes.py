"""The route `POST /predict`. Because it is the hot path, its handler is an ASGI callable that works on bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import ExplainedPrediction, Interval, Prediction
from housepredict.domain.idempotency import Delivery
from housepredict.entrypoints.answers import (
    ExplanationAnswer,
    IntervalAnswer,
    PredictionAnswer,
    PredictionsAnswer,
    SharedPart,
    WarningAnswer,
)
from housepredict.entrypoints.composition import (
    PREDICTION_COLUMNS,
    Application,
    encode_objects,
    predictions_to_csv,
    read_houses_csv,
)
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.batching import JOB, EstimateJob, Estimator
from housepredict.entrypoints.http.problems import answer
from housepredict.entrypoints.http.queries import explained_with_key, wants_explanation
from housepredict.entrypoints.http.requests import (
    CSV,
    VARY_BY_CODING,
    compress,
    csv_body,
    decode,
    idempotency_key,
    is_csv,
    prefers_csv,
    read_body,
)
from housepredict.entrypoints.http.responses import HEADERS as COMMON_HEADERS
from housepredict.entrypoints.http.responses import encode
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.json_documents import document, parts_of


def predict_for_key(
    application: Application, body: bytes, key: str, as_csv: bool
) -> tuple[object, Sequence[Prediction]]:
    """Estimate the houses in a body (CSV or JSON), unless a request with the same idempotency key already did.

    A repeated request gets the stored predictions of the first one.

    Returns:
        The parsed body (a house or a list of houses), and the predictions.
    """
    # The digest covers the bytes rather than the parsed houses, which depend on the version in service.
    delivery = Delivery(key, hashlib.sha256((b"csv:" if as_csv else b"json:") + body).hexdigest())
    once = application.predict_once
    if as_csv:
        # Called only for a new key. At a replay, another version may be in service, whose schema the columns violate.
        def read() -> Sequence[object]:
            schema = application.live_model.current().version.schema
            return read_houses_csv(body, schema, application.settings.max_batch)

        predictions = once.for_key(read, delivery)
        return [prediction.estimate.house.values for prediction in predictions], predictions
    houses = decode(body)
    if isinstance(houses, list):
        return houses, once.for_key(lambda: houses, delivery)
    try:
        return houses, once.for_key(lambda: [houses], delivery)
    except InvalidHouses as error:
        raise error.alone() from None


_COMMON_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in {**COMMON_HEADERS, "Vary": VARY_BY_CODING}.items()
]
HEADERS = [*_COMMON_HEADERS, (b"content-type", b"application/json")]
_CSV_HEADERS = [*_COMMON_HEADERS, (b"content-type", CSV.encode() + b"; charset=utf-8")]
_GZIP = (b"content-encoding", b"gzip")
MAX_LOOP_BYTES = 65_536
"""The maximum body size in bytes that is parsed in the event loop. Larger bodies are parsed in a worker thread."""
MAX_LOOP_HOUSES = 50
"""The maximum number of houses for which the response is built in the event loop instead of a worker thread."""


class EstimateHouses:
    """Estimate the price of a house or a list of houses (requires: {required}; ?explain=true adds contributions).

    This is an ASGI callable. The estimates are recorded before the response is sent.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request."""
        try:
            content, headers = await _content(scope, receive)
        except Exception as error:  # noqa: BLE001  # every error has a problem document
            response = await answer(Request(scope, receive), error)
            await response(scope, receive, send)
            return
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _content(scope: Scope, receive: Receive) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    explain = wants_explanation(QueryParams(scope["query_string"]))
    service = running_service(scope["app"])
    estimator = service.explaining_estimator if explain else service.estimator
    headers = Headers(scope=scope)
    key = idempotency_key(headers, InvalidHouses)
    if key is not None and explain:
        raise explained_with_key()
    as_csv = is_csv(headers)
    body = await read_body(headers, receive, estimator.max_body, estimator.body_timeout)
    if as_csv:
        body = csv_body(headers, body, InvalidHouses)
    is_short = len(body) <= MAX_LOOP_BYTES
    predictions: Sequence[Prediction]
    if key is not None:
        houses, predictions = await run_in_threadpool(predict_for_key, service.application, body, key, as_csv)
    else:
        reader = read_csv if as_csv else read
        houses, job = reader(estimator, body) if is_short else await run_in_threadpool(reader, estimator, body)
        predictions = await _estimate(estimator, houses, job, scope)

    def respond() -> tuple[bytes, list[tuple[bytes, bytes]]]:
        if prefers_csv(headers) and not explain:
            content, form = predictions_to_csv(predictions), _CSV_HEADERS
        else:
            content, form = (
                encode_predictions(predictions, houses, body, _explained_answer if explain else _answer),
                HEADERS,
            )
        content, is_compressed = compress(content, headers)
        return content, [*form, _GZIP] if is_compressed else [*form]

    return respond() if is_short and len(predictions) <= MAX_LOOP_HOUSES else await run_in_threadpool(respond)


async def _estimate(estimator: Estimator, houses: object, job: EstimateJob, scope: Scope) -> Sequence[Prediction]:
    scope[JOB] = job
    try:
        return await estimator.estimate(job)
    except InvalidHouses as error:
        raise error if isinstance(houses, list) else error.alone() from None


def read_csv(estimator: Estimator, body: bytes) -> tuple[object, EstimateJob]:
    """Parse and validate the houses in a CSV body. Raise InvalidHouses or NoModel.

    Returns:
        The parsed houses, and the job to estimate them.
    """
    serving = estimator.in_service()
    houses = read_houses_csv(body, serving.version.schema, estimator.max_batch)
    return houses, estimator.check(houses, serving)


def read(estimator: Estimator, body: bytes) -> tuple[object, EstimateJob]:
    """Parse and validate the house or list of houses in a JSON body. Raise a Problem, InvalidHouses or NoModel.

    Returns:
        The parsed house or list, and the job to estimate it.
    """
    houses = decode(body)
    if isinstance(houses, list):
        return houses, estimator.check(houses)
    try:
        return houses, estimator.check([houses])
    except InvalidHouses as error:
        raise error.alone() from None


def _answer(prediction: Prediction, house: bytes) -> bytes:
    estimate = prediction.estimate
    # Prices are floats rounded to cents. The repr of such a float is a valid JSON number.
    start = f'{{"id":"{prediction.id}","prediction":{estimate.price!r},"input":'.encode()
    fsd = "null" if estimate.fsd is None else repr(estimate.fsd)
    certainty = f',"interval":{_interval(estimate.intervals)},"fsd":{fsd},'.encode()
    return b"%b%b%b%b" % (start, house, certainty, _end(*_SHARED_BY(estimate)))


def _explained_answer(prediction: ExplainedPrediction, house: bytes) -> bytes:
    explanation = encode(document(prediction.explanation, ExplanationAnswer)).encode()
    return b'%b,"explanation":%b}' % (_answer(prediction, house)[:-1], explanation)


def encode_predictions(
    predictions: Sequence[Prediction], houses: object, body: bytes, answer: Callable[[Any, bytes], bytes] = _answer
) -> bytes:
    """Encode the response to a request with a JSON body.

    Args:
        predictions: the predictions, in the order of the houses.
        houses: the parsed body: a house, or a list of houses.
        body: the body of the request. If it is a single house, the response contains it unchanged.
        answer: a function that encodes a prediction as JSON. Its arguments are the prediction, and its house as JSON.
    """
    if isinstance(houses, list):
        pairs = zip(predictions, encode_objects(encode, houses), strict=True)
        return b'{"predictions":[%b]}' % b",".join([answer(prediction, house.encode()) for prediction, house in pairs])
    # A valid body has no duplicate names or NaN, so it can be echoed unchanged, with all digits.
    return answer(predictions[0], body)


def _interval(intervals: Sequence[Interval]) -> str:
    parts = [f'"{level}":{{"low":{low!r},"high":{high!r}}}' for level, low, high in intervals]
    return f"{{{','.join(parts)}}}" if parts else "null"


_SHARED = [str(part.source) for part in parts_of(SharedPart)]
_SHARED_BY = attrgetter(*_SHARED)


@lru_cache(maxsize=1024)
def _end(*shared: object) -> bytes:
    """Return the end of a prediction's JSON, starting with the fields of SharedPart.

    `shared` contains the values of these fields. The result is cached, because many predictions have the same values.
    """
    estimate = SimpleNamespace(**dict(zip(_SHARED, shared, strict=True)))
    return encode(document(estimate, SharedPart)).encode()[1:]


ESTIMATES = openapi.Resource(
    "Estimates",
    openapi.named(PredictionAnswer, PredictionsAnswer, IntervalAnswer, WarningAnswer, ExplanationAnswer),
)

_HOUSES = openapi.about(
    openapi.FILE,
    "UTF-8, separated by commas or semicolons. The header names the features, in any order. Cells may be empty.",
)
ESTIMATES_IN_CSV = openapi.about(
    openapi.TEXT,
    f"UTF-8, separated by commas. Columns: {', '.join(f'`{name}`' for name in PREDICTION_COLUMNS)}, then the features.",
)
"""The schema for predictions in CSV."""

PREDICT = ESTIMATES.route(
    "POST /predict",
    "predict",
    openapi.Answer(
        "The recorded estimates: an object for one house, otherwise a list in the order of the request.",
        (PredictionAnswer, PredictionsAnswer),
        also={CSV: ESTIMATES_IN_CSV},
        headers=openapi.COMPRESSIBLE,
        always=["Vary"],
        links={
            "sale": openapi.link("recordSaleOfPrediction", "Record the sale of the house.", id="/id"),
            "saleSoFar": openapi.link("getSaleOfPrediction", "Get the recorded sale.", id="/id"),
            "again": openapi.link("getPrediction", "Get the recorded prediction.", id="/id"),
            "erase": openapi.link("erasePrediction", "Erase the prediction.", id="/id"),
        },
    ),
    problems=(
        *("not-json", "missing-feature", "no-explanation", *openapi.BODY_PROBLEMS),
        *("invalid-houses", "invalid-query", "overloaded", "storage-unavailable", *openapi.SERVING),
        *("erased-predictions", "repeated-key"),
    ),
    parameters=[
        openapi.query(
            "explain",
            {**openapi.FLAG, "default": False},
            "Include the contribution of each feature in the response, which is then always JSON.",
        ),
        openapi.CONTENT_ENCODING,
        openapi.idempotency_header(
            "Makes retries safe: requests with the same key are recorded once and get the same estimates. Can't be "
            "combined with `explain`."
        ),
    ],
    body={openapi.JSON: {"schema": {"oneOf": [openapi.ref("House"), openapi.ref("Houses")]}}, CSV: {"schema": _HOUSES}},
    description="Send one house, a list of houses, or CSV. Either all houses are estimated and recorded, or none is. "
    "Two kinds of houses are invalid even if they match the schema: those with duplicate feature names, and those so "
    "far from the training sales that the model can't estimate a price.",
)(EstimateHouses())
"""The endpoint of `POST /predict`."""
