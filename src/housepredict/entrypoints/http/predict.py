"""POST /predict: the hot path, a plain ASGI callable from the bytes of a request to the bytes of its response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from attrs import define, field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from housepredict.domain.caveats import Caveat
from housepredict.domain.errors import InvalidHouses, RepositoryUnavailable
from housepredict.domain.estimates import Interval, Prediction
from housepredict.domain.explanations import ExplainedPrediction
from housepredict.domain.features import House
from housepredict.domain.json_objects import encode_each
from housepredict.domain.ports import InService, PredictorSource
from housepredict.domain.usecases import Predict
from housepredict.entrypoints.houses_csv import houses_of_csv, predictions_csv
from housepredict.entrypoints.http.answers import HEADERS as COMMON_HEADERS
from housepredict.entrypoints.http.answers import encode, warning_document
from housepredict.entrypoints.http.coalescer import Coalescer, Outcome, Overloaded
from housepredict.entrypoints.http.codings import CSV, VARY, packed, prefers_csv
from housepredict.entrypoints.http.keyed import predict_for_key
from housepredict.entrypoints.http.meter import Lane
from housepredict.entrypoints.http.observer import Observer, notes_of
from housepredict.entrypoints.http.problems import NotStarted, Problem, answer
from housepredict.entrypoints.http.queries import not_for_a_key, wants_explanation
from housepredict.entrypoints.http.requests import decode, idempotency_key, is_csv, read_body
from housepredict.entrypoints.report import explanation_document

_ALL_HAVE = [(name.lower().encode(), value.encode()) for name, value in {**COMMON_HEADERS, "Vary": VARY}.items()]
HEADERS = [*_ALL_HAVE, (b"content-type", b"application/json")]
_CSV_HEADERS = [*_ALL_HAVE, (b"content-type", CSV.encode() + b"; charset=utf-8")]
_PACKED = (b"content-encoding", b"gzip")
SHORT = 65_536
"""Longer bodies, in bytes, are read and answered in a worker thread: the event loop has others to serve."""
FEW = 50
"""So are answers about more houses."""


@define(eq=False)
class Job:
    """Houses that were checked, and what was in service then."""

    serving: InService
    houses: Sequence[House]
    steps: tuple[float, float, float] | None = None
    """When its batch began, and its commit began and ended, by time.perf_counter; for who asks for traces."""


@define(eq=False)
class Estimator:
    """What the requests of one running service share: the use case, and the coalescer in front of it."""

    _models: PredictorSource
    _predict: Predict
    max_body: int
    max_batch: int
    max_waiting: int
    body_timeout: float | None = None
    observer: Observer = field(factory=Observer.alone)
    _lane: Lane | None = None
    _coalescer: Coalescer[Job, Sequence[Prediction]] = field(init=False)

    @_coalescer.default
    def _in_front(self) -> Coalescer[Job, Sequence[Prediction]]:
        return Coalescer(self._estimate, self.max_batch, self.max_waiting)

    def in_service(self) -> InService:
        """What is in service. Raises NoModel, or why the version was refused."""
        return self._models.in_service()

    def check(self, given: Sequence[object], serving: InService | None = None) -> Job:
        """Houses as a job, if the model has nothing against them: what is in service, or was when they were read.

        Raises InvalidHouses or NoModel.
        """
        serving = serving or self._models.in_service()
        return Job(serving, self._predict.check(serving, given))

    async def estimate(self, job: Job) -> Sequence[Prediction]:
        """Estimate and remember houses; see Predict. Raises a Problem where too many wait."""
        outcome: asyncio.Future[Sequence[Prediction]] = asyncio.get_running_loop().create_future()
        self.submit(job, outcome)
        return await outcome

    def submit(self, job: Job, outcome: Outcome[Sequence[Prediction]]) -> None:
        """As `estimate`, for who is told the outcome."""
        try:
            self._coalescer.submit(job, len(job.houses), outcome)
        except Overloaded:
            detail = "More requests wait than the service lets wait. Try again in a moment."
            raise Problem("overloaded", 503, "Too many requests", detail, headers={"Retry-After": "1"}) from None

    def waiting(self) -> int:
        """How many houses wait."""
        return self._coalescer.waiting()

    def close(self) -> None:
        """Finish what is in flight."""
        self._coalescer.close()

    def _estimate(self, jobs: Sequence[Job]) -> Sequence[Sequence[Prediction] | Exception]:
        """One use-case call for each version among the jobs: two for the batch in which a model is swapped."""
        serving = jobs[0].serving
        if self._lane:
            self._lane.batch(sum(len(job.houses) for job in jobs))
        if all(job.serving is serving for job in jobs):
            return self._estimate_with(serving, jobs)
        outcomes: dict[int, Sequence[Prediction] | Exception] = {}
        for serving in {id(job.serving): job.serving for job in jobs}.values():
            positions = [position for position, job in enumerate(jobs) if job.serving is serving]
            found = self._estimate_with(serving, [jobs[position] for position in positions])
            outcomes.update(zip(positions, found, strict=True))
        return [outcomes[position] for position in range(len(jobs))]

    def _estimate_with(self, serving: InService, jobs: Sequence[Job]) -> Sequence[Sequence[Prediction] | Exception]:
        began = time.perf_counter()
        try:
            predictions = self._predict.record(serving, [house for job in jobs for house in job.houses])
        except RepositoryUnavailable as error:
            return [error] * len(jobs)
        except Exception as error:  # noqa: BLE001  # of one job or another: each is to hear of its own
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self._estimate_with(serving, [job])]
        if self._lane and self.observer.tracing:
            for job in jobs:
                job.steps = began, *self._lane.last_commit
        each = iter(predictions)
        return [[next(each) for _ in job.houses] for job in jobs]


class EstimateHouses:
    """The ASGI callable: estimates a house, or all houses of a list or a table, and remembers it before the response
    leaves.
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


PREDICT = EstimateHouses()
"""The endpoint of `POST /predict`."""


async def _content(scope: Scope, receive: Receive) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    explain = wants_explanation(QueryParams(scope["query_string"]))
    state = scope["app"].state
    estimator: Estimator | None = state.explaining_estimator if explain else state.estimator
    if estimator is None:
        raise NotStarted
    headers = Headers(scope=scope)
    key = idempotency_key(headers, InvalidHouses)
    if key is not None and explain:
        raise not_for_a_key()
    as_csv = is_csv(headers)
    body = await read_body(headers, receive, estimator.max_body, estimator.body_timeout)
    is_short = len(body) <= SHORT
    predictions: Sequence[Prediction]
    if key is not None:
        given, predictions = await run_in_threadpool(predict_for_key, state.application, body, key, as_csv)
    else:
        reads = read_csv if as_csv else read
        given, job = reads(estimator, body) if is_short else await run_in_threadpool(reads, estimator, body)
        predictions = await _estimated(estimator, given, job, scope)

    def respond() -> tuple[bytes, list[tuple[bytes, bytes]]]:
        if prefers_csv(headers) and not explain:
            content, form = predictions_csv(predictions), _CSV_HEADERS
        else:
            content, form = written(predictions, given, body, _explained_answer if explain else _answer), HEADERS
        content, is_packed = packed(content, headers)
        return content, [*form, _PACKED] if is_packed else [*form]

    return respond() if is_short and len(predictions) <= FEW else await run_in_threadpool(respond)


async def _estimated(estimator: Estimator, given: object, job: Job, scope: Scope) -> Sequence[Prediction]:
    notes_of(scope).job = job
    try:
        return await estimator.estimate(job)
    except InvalidHouses as error:
        raise error if isinstance(given, list) else error.alone() from None


def read_csv(estimator: Estimator, body: bytes) -> tuple[object, Job]:
    """The houses of a table, and the job that they make. Raises InvalidHouses or NoModel."""
    serving = estimator.in_service()
    given = houses_of_csv(body, serving.version.schema)
    return given, estimator.check(given, serving)


def read(estimator: Estimator, body: bytes) -> tuple[object, Job]:
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
    origin = _origin(estimate.model_version, estimate.generation, estimate.valued_on, estimate.caveats)
    # prices are floats of whole cents, whose shortest form is a JSON number
    return b'{"id":"%b","prediction":%b,"input":%b,"interval":%b,"fsd":%b,%b' % (
        str(prediction.id).encode(),
        repr(estimate.price).encode(),
        given,
        _interval(estimate.intervals),
        b"null" if estimate.fsd is None else repr(estimate.fsd).encode(),
        origin,
    )


def _explained_answer(prediction: ExplainedPrediction, given: bytes) -> bytes:
    explanation = encode(explanation_document(prediction.explanation)).encode()
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


def _interval(intervals: Sequence[Interval]) -> bytes:
    if not intervals:
        return b"null"
    parts = [f'"{level}":{{"low":{low!r},"high":{high!r}}}' for level, low, high in intervals]
    return f"{{{','.join(parts)}}}".encode()


@lru_cache(maxsize=1024)
def _origin(model_version: str, generation: int | None, valued_on: date | None, caveats: tuple[Caveat, ...]) -> bytes:
    """The end of an answer, which many have in common."""
    document = {
        "model_version": model_version,
        "generation": generation,
        "valued_on": valued_on.isoformat() if valued_on else None,
        "warnings": [warning_document(caveat) for caveat in caveats],
    }
    return encode(document).encode()[1:]
