"""POST /predict: the hot path, a plain ASGI callable from the bytes of a request to the bytes of its response."""

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
from housepredict.entrypoints.composition import PREDICTION_COLUMNS, Application, csv_of, encode_each, houses_of_csv
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.batching import JOB, EstimateJob, Estimator
from housepredict.entrypoints.http.problems import answer
from housepredict.entrypoints.http.queries import not_for_a_key, wants_explanation
from housepredict.entrypoints.http.requests import (
    CSV,
    VARY_BY_CODING,
    csv_body,
    decode,
    idempotency_key,
    is_csv,
    packed,
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
    """What a body says, and the predictions that were made for its key, whenever that was.

    Raises a Problem, or what PredictOnce raises.
    """
    # of the bytes: the answer repeats them, and they mean the same whatever is in service by then
    delivery = Delivery(key, hashlib.sha256((b"csv:" if as_csv else b"json:") + body).hexdigest())
    once = application.predict_once
    if as_csv:
        # which features its columns are is the model's to say, and that may be another one by the second time

        def read() -> Sequence[object]:
            schema = application.live_model.current().version.schema
            return houses_of_csv(body, schema, application.settings.max_batch)

        found = once.for_key(read, delivery)
        return [each.estimate.house.values for each in found], found
    given = decode(body)
    if isinstance(given, list):
        return given, once.for_key(lambda: given, delivery)
    try:
        return given, once.for_key(lambda: [given], delivery)
    except InvalidHouses as error:
        raise error.alone() from None


_ALL_HAVE = [
    (name.lower().encode(), value.encode()) for name, value in {**COMMON_HEADERS, "Vary": VARY_BY_CODING}.items()
]
HEADERS = [*_ALL_HAVE, (b"content-type", b"application/json")]
_CSV_HEADERS = [*_ALL_HAVE, (b"content-type", CSV.encode() + b"; charset=utf-8")]
_PACKED = (b"content-encoding", b"gzip")
SHORT = 65_536
"""Longer bodies, in bytes, are read and answered in a worker thread: the event loop has others to serve."""
FEW = 50
"""So are answers about more houses."""


class EstimateHouses:
    """Predict house price (requires: {required}), or those of a list of houses (?explain=true).

    An ASGI callable: the estimates are recorded before the response leaves.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            content, headers = await _content(scope, receive)
        except Exception as error:  # noqa: BLE001  # every failure has its problem document
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
        raise not_for_a_key()
    as_csv = is_csv(headers)
    body = await read_body(headers, receive, estimator.max_body, estimator.body_timeout)
    if as_csv:
        body = csv_body(headers, body, InvalidHouses)
    is_short = len(body) <= SHORT
    predictions: Sequence[Prediction]
    if key is not None:
        given, predictions = await run_in_threadpool(predict_for_key, service.application, body, key, as_csv)
    else:
        reads = read_csv if as_csv else read
        given, job = reads(estimator, body) if is_short else await run_in_threadpool(reads, estimator, body)
        predictions = await _estimated(estimator, given, job, scope)

    def respond() -> tuple[bytes, list[tuple[bytes, bytes]]]:
        if prefers_csv(headers) and not explain:
            content, form = csv_of(predictions), _CSV_HEADERS
        else:
            content, form = written(predictions, given, body, _explained_answer if explain else _answer), HEADERS
        content, is_packed = packed(content, headers)
        return content, [*form, _PACKED] if is_packed else [*form]

    return respond() if is_short and len(predictions) <= FEW else await run_in_threadpool(respond)


async def _estimated(estimator: Estimator, given: object, job: EstimateJob, scope: Scope) -> Sequence[Prediction]:
    scope[JOB] = job
    try:
        return await estimator.estimate(job)
    except InvalidHouses as error:
        raise error if isinstance(given, list) else error.alone() from None


def read_csv(estimator: Estimator, body: bytes) -> tuple[object, EstimateJob]:
    """The houses of a table, and the job that they make. Raises InvalidHouses or NoModel."""
    serving = estimator.in_service()
    given = houses_of_csv(body, serving.version.schema, estimator.max_batch)
    return given, estimator.check(given, serving)


def read(estimator: Estimator, body: bytes) -> tuple[object, EstimateJob]:
    """What a body says, and the job that it makes. Raises a Problem, InvalidHouses or NoModel."""
    given = decode(body)
    if isinstance(given, list):
        return given, estimator.check(given)
    try:
        return given, estimator.check([given])
    except InvalidHouses as error:
        raise error.alone() from None


def _answer(prediction: Prediction, given: bytes) -> bytes:
    estimate = prediction.estimate
    # prices are floats of whole cents, whose shortest form is a JSON number
    start = f'{{"id":"{prediction.id}","prediction":{estimate.price!r},"input":'.encode()
    fsd = "null" if estimate.fsd is None else repr(estimate.fsd)
    certainty = f',"interval":{_interval(estimate.intervals)},"fsd":{fsd},'.encode()
    return b"%b%b%b%b" % (start, given, certainty, _end(*_SHARED_BY(estimate)))


def _explained_answer(prediction: ExplainedPrediction, given: bytes) -> bytes:
    explanation = encode(document(prediction.explanation, ExplanationAnswer)).encode()
    return b'%b,"explanation":%b}' % (_answer(prediction, given)[:-1], explanation)


def written(
    predictions: Sequence[Prediction], given: object, body: bytes, answer: Callable[[Any, bytes], bytes] = _answer
) -> bytes:
    """The body of the answer; `answer` makes it of a prediction and the house as it was sent."""
    if isinstance(given, list):
        pairs = zip(predictions, encode_each(encode, given), strict=True)
        return b'{"predictions":[%b]}' % b",".join([answer(each, house.encode()) for each, house in pairs])
    # the body was read as JSON without duplicates, NaN or unknown names: it is its own echo, to the last digit
    return answer(predictions[0], body)


def _interval(intervals: Sequence[Interval]) -> str:
    parts = [f'"{level}":{{"low":{low!r},"high":{high!r}}}' for level, low, high in intervals]
    return f"{{{','.join(parts)}}}" if parts else "null"


_SHARED = [str(part.source) for part in parts_of(SharedPart)]
_SHARED_BY = attrgetter(*_SHARED)


@lru_cache(maxsize=1024)
def _end(*shared: object) -> bytes:
    """The end of an answer, which many have in common."""
    estimate = SimpleNamespace(**dict(zip(_SHARED, shared, strict=True)))
    return encode(document(estimate, SharedPart)).encode()[1:]


ESTIMATES = openapi.Resource(
    "Estimates",
    openapi.named(PredictionAnswer, PredictionsAnswer, IntervalAnswer, WarningAnswer, ExplanationAnswer),
)

_HOUSES = openapi.about(
    openapi.FILE,
    "UTF-8, commas or semicolons, a column for each feature, in any order; cells may be empty.",
)
ESTIMATES_IN_CSV = openapi.about(
    openapi.TEXT,
    f"UTF-8, commas: {', '.join(f'`{name}`' for name in PREDICTION_COLUMNS)}, and the features.",
)
"""Predictions in CSV."""

PREDICT = ESTIMATES.route(
    "POST /predict",
    "predict",
    openapi.Answer(
        "Estimated and recorded: one house, or those of a list in its order.",
        (PredictionAnswer, PredictionsAnswer),
        also={CSV: ESTIMATES_IN_CSV},
        headers=openapi.PACKED,
        always=["Vary"],
        links={
            "sale": openapi.link("recordSaleOfPrediction", "Once the house is sold: tell for how much.", id="/id"),
            "saleSoFar": openapi.link("getSaleOfPrediction", "The sale, once it was told.", id="/id"),
            "again": openapi.link("getPrediction", "What is remembered of it.", id="/id"),
            "erase": openapi.link("erasePrediction", "Forget it.", id="/id"),
        },
    ),
    problems=(
        *("not-json", "missing-feature", "no-explanation", *openapi.PACKABLE),
        *("invalid-houses", "invalid-query", "overloaded", "storage-unavailable", *openapi.SERVING),
        *("erased-predictions", "repeated-key"),
    ),
    parameters=[
        openapi.query(
            "explain", {**openapi.FLAG, "default": False}, "Whether to say what moved each estimate. Always in JSON."
        ),
        openapi.CONTENT_ENCODING,
        openapi.idempotency_header(
            "Makes it safe to send the request again: what came with a key is recorded once, and answered alike. "
            "Not with `explain`."
        ),
    ],
    body={openapi.JSON: {"schema": {"oneOf": [openapi.ref("House"), openapi.ref("Houses")]}}, CSV: {"schema": _HOUSES}},
    description="All houses of a list, or of a table, are estimated and recorded, or none is. A house may be refused "
    "although the schema accepts it: if it names a feature twice, or if it is so far from the sales that the model has "
    "no price for it.",
)(EstimateHouses())
"""The endpoint of `POST /predict`."""
