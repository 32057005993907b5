"""Everything that can go wrong over HTTP, as problem documents (RFC 9457) that also bear the tutorial's `error`.

Types are URNs, `urn:housepredict:problem:NAME`: stable names, which nothing is served at.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID, uuid4

from attrs import define, evolve, field, frozen
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from housepredict.domain import errors
from housepredict.domain.features import MAX_MAGNITUDE, MAX_TEXT
from housepredict.domain.validation import Rule, Violation
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.json_documents import ABSENT, document, document_class, keywords, part

_log = logging.getLogger(__name__)

PROBLEM = "housepredict.problem"
"""Where the scope of a request has the problem that answered it."""

CLIENT_CLOSED_REQUEST = 499
"""The status of a request whose client did not wait for an answer."""

PROBLEM_JSON = "application/problem+json"
URN = "urn:housepredict:problem:"
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_SHOWN_ITEMS = 10
_SHOWN_LEVELS = 2


@define
class Problem(Exception):
    """A request that is refused, and how to say so."""

    name: str
    status: int
    title: str
    detail: str
    violations: Sequence[Violation] = ()
    headers: Mapping[str, str] = field(factory=dict)
    error: str | None = None
    instance: str | None = None
    training: str | None = ABSENT

    def response(self) -> Response:
        """The problem document."""
        return json_response(document(self, ProblemAnswer), self.status, self.headers, PROBLEM_JSON)


class NotStarted(RuntimeError):
    """The app is used outside of its lifespan."""

    def __init__(self) -> None:
        super().__init__(
            "The lifespan of housepredict's app is not running: an app that is mounted is not started with the other. "
            "Where `prices` is what `housepredict.asgi_app()` gave, say `lifespan=prices.router.lifespan_context` to "
            "the Starlette or FastAPI app around it, or in the lifespan that it has "
            "`async with prices.router.lifespan_context(prices): yield`."
        )


@frozen
class ProblemType:
    """What problems of a name have in common.

    Args:
        retry_after: after how many seconds to try again.
        internal: whether the messages of its errors name hosts or files, and are for the log alone.
        advice: added to the messages of its errors.
        headers: the headers that its responses always have, beside `Retry-After`.
        others: the headers that some of its responses have.
    """

    name: str
    status: int
    title: str
    retry_after: int | None = None
    internal: bool = False
    advice: str = ""
    headers: Sequence[str] = ()
    others: Sequence[str] = ()

    @property
    def always(self) -> Sequence[str]:
        """The headers that its responses always have."""
        return self.headers if self.retry_after is None else ("Retry-After", *self.headers)


_TRAIN_ONE = " Train another with `housepredict train SALES.csv --price COLUMN`."

_REFUSED = ProblemType("refused-model", 503, "The model was refused")

# For those of BrokenRules see _invalid. InvalidSettings keep the service from starting.
KINDS: Mapping[type[errors.HousepredictError], ProblemType] = {
    errors.NoModel: ProblemType("no-model", 503, "No model is in service"),
    errors.RefusedModel: evolve(_REFUSED, advice=_TRAIN_ONE),
    errors.NewerModel: _REFUSED,
    errors.NoExplanation: ProblemType("no-explanation", 409, "The model cannot explain"),
    errors.NoSnapshot: ProblemType("no-snapshot", 409, "The model has no snapshot"),
    errors.UnknownModel: ProblemType(
        "unknown-model", 503, "The promoted model is not there", internal=True, advice=_TRAIN_ONE
    ),
    errors.ModelStoreUnavailable: ProblemType(
        "model-store-unavailable", 503, "Models cannot be read", 5, internal=True
    ),
    errors.RepositoryUnavailable: ProblemType("storage-unavailable", 503, "Nothing can be kept", 5, internal=True),
    errors.TrainingInProgress: ProblemType(
        "training-in-progress", 409, "A model is being trained", 30, others=["Location"]
    ),
    errors.UnknownTraining: ProblemType("unknown-training", 404, "There is no such training"),
    errors.TrainingEnded: ProblemType("training-ended", 409, "The training has ended"),
    errors.TrainingCancelled: ProblemType("training-cancelled", 409, "The training was cancelled"),
    errors.TrainingBroken: ProblemType("training-failed", 500, "The training failed"),
    errors.UnreadableFile: ProblemType("unusable-sales", 409, "The sales cannot be trained on"),
    errors.UnknownPrediction: ProblemType("unknown-prediction", 404, "There is no such prediction"),
    errors.ErasedPredictions: ProblemType("erased-predictions", 410, "The predictions were erased"),
    errors.ErasedSales: ProblemType("erased-sales", 410, "The sales were erased"),
    errors.RepeatedKey: ProblemType("repeated-key", 422, "The key came with something else before"),
    errors.MissingExtra: ProblemType("missing-extra", 501, "A part is not installed"),
    errors.UnusablePlugin: ProblemType("missing-extra", 501, "A part is not installed", internal=True),
}
"""How the domain's errors are told."""

# Those that no error of the domain stands behind.
_OF_HTTP = (
    ProblemType("body-too-large", 413, "The body is too large"),
    ProblemType("forbidden", 403, "Not from here"),
    ProblemType("headers-too-large", 431, "The headers are too large"),
    ProblemType("internal-error", 500, "Internal error"),
    ProblemType("invalid-houses", 422, "This is no house to estimate"),
    ProblemType("invalid-query", 422, "The query cannot be understood"),
    ProblemType("invalid-sales", 422, "This is no sale of a house"),
    ProblemType("malformed-request", 400, "This is not HTTP"),
    ProblemType("missing-feature", 400, "A feature is missing"),
    ProblemType("not-found", 404, "Not found"),
    ProblemType("not-gzip", 400, "The body is not gzip"),
    ProblemType("not-json", 400, "The body is not JSON"),
    ProblemType("not-started", 503, "The service was not started"),
    ProblemType("overloaded", 503, "Too many requests", headers=["Retry-After"]),
    ProblemType("refused-version", 409, "The version is refused"),
    ProblemType("request-timeout", 408, "The request took too long"),
    ProblemType("too-many-connections", 503, "Too many connections", headers=["Retry-After"]),
    ProblemType("unauthorized", 401, "A token is needed", headers=["WWW-Authenticate"]),
    ProblemType("unknown-version", 404, "There is no such version"),
    ProblemType("unsupported-media-type", 415, "The body is of another type", others=["Accept", "Accept-Encoding"]),
    ProblemType("wrong-method", 405, "Wrong method", headers=["Allow"]),
)

PROBLEMS = {each.name: each for each in (*_OF_HTTP, *KINDS.values())}
"""Every problem by name."""

TypeName = Annotated[str, keywords(enum=tuple(URN + name for name in sorted(PROBLEMS)))]
Status = Annotated[int, keywords(minimum=400, maximum=599)]


@document_class
class ProblemAnswer:
    """What kept a request from being answered (RFC 9457)."""

    type: TypeName = part(lambda problem: URN + problem.name, "A stable name.")
    title: str
    status: Status
    detail: str
    error: str = part(lambda problem: problem.error or problem.detail, "What the tutorial's service would say.")
    instance: str | None = part(about="Where the service's log says more of this.", optional=True)
    violations: Sequence[ViolationAnswer] | None = part(lambda problem: problem.violations or None, optional=True)
    training: str | None = part(about="The address of the training that is under way.", optional=True, nullable=True)


@document_class
class ViolationAnswer:  # noqa: D101  # its docstring would be its description in the OpenAPI document
    pointer: str = part(
        lambda violation: _short(violation.pointer),
        "Where the value stands in the body (RFC 6901), or the parameter's name after a `/`.",
    )
    rule: Rule
    message: str = part(lambda violation: _short(violation.message))
    value: Any = part(lambda violation: _shown(violation.value), "What stood there, cut off where it is long.")


async def answer(request: Request, error: Exception) -> Response:
    """The response to whatever was raised."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # which nobody is there to read
    if isinstance(error, HTTPException) and request.method == "OPTIONS" and error.headers:
        return Response(status_code=204, headers={"Allow": _allowed(error)})
    if isinstance(error, errors.BrokenRules):
        # a body may break more rules than the event loop should wait for to be listed
        problem = await run_in_threadpool(_invalid, error)
        response = await run_in_threadpool(problem.response)
    else:
        problem = problem_of(request, error)
        response = problem.response()
    request.scope[PROBLEM] = problem
    return response


def problem_of(request: Request, error: Exception) -> Problem:
    """What to say of whatever was raised."""
    match error:
        case Problem():
            return error
        case errors.BrokenRules():
            return _invalid(error)
        case NotStarted():
            _log.error("%s", error)
            return Problem("not-started", 503, "The service was not started", str(error))
        case errors.TrainingInProgress(training=UUID() as id_):
            path = address(request, f"/trainings/{id_}")
            problem = _known(error, KINDS[errors.TrainingInProgress])
            return evolve(problem, headers={**problem.headers, "Location": path}, training=path)
        case errors.TrainingInProgress():
            return evolve(_known(error, KINDS[errors.TrainingInProgress]), training=None)
        case HTTPException(status_code=404):
            return Problem("not-found", 404, "Not found", "There is nothing here; `GET /` lists what there is.")
        case HTTPException(status_code=405):
            allowed = _allowed(error)
            detail = f"{request.method} is not possible here, but {allowed}."
            return Problem("wrong-method", 405, "Wrong method", detail, headers={"Allow": allowed})
        case errors.HousepredictError():
            for each in type(error).__mro__:
                if kind := KINDS.get(each):
                    return _known(error, kind)
    return _unexpected(request, error)


def address(request: Request, path: str) -> str:
    """Where clients find a path of the app, wherever it is mounted and whatever a proxy puts in front."""
    return quote(request.scope.get("root_path", "").rstrip("/")) + path


def _allowed(error: HTTPException) -> str:
    return ", ".join(sorted({"OPTIONS", *(error.headers or {})["Allow"].split(", ")}))


def _known(error: errors.HousepredictError, kind: ProblemType) -> Problem:
    detail = str(error)
    if kind.internal:
        _log.error("%s: %s", kind.title, error)
        detail = str(type(error)())  # its docstring
    retry = {} if kind.retry_after is None else {"Retry-After": str(kind.retry_after)}
    return Problem(kind.name, kind.status, kind.title, detail + kind.advice, headers=retry)


def _invalid(error: errors.BrokenRules) -> Problem:
    """A missing feature is a 400, as in the tutorial; everything else that is wrong with a house or a sale a 422."""
    violations = error.violations
    if isinstance(error, errors.InvalidOptions):
        return Problem("invalid-query", 422, "The query cannot be understood", summary(violations), violations)
    if isinstance(error, errors.InvalidSales):
        return Problem("invalid-sales", 422, "This is no sale of a house", summary(violations), violations)
    missing = next((each for each in violations if each.rule is Rule.MISSING), None)
    if missing is None:
        return Problem("invalid-houses", 422, "This is no house to estimate", summary(violations), violations)
    feature = missing.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
    title, lab = "A feature is missing", f"Missing field: {feature}"
    return Problem("missing-feature", 400, title, summary(violations), violations, error=lab)


def summary(violations: Sequence[Violation]) -> str:
    """The first violation, and how many more there are."""
    more = f" ({len(violations) - 1} more in `violations`)" if len(violations) > 1 else ""
    return _short(violations[0].describe()) + more


def _unexpected(request: Request, error: Exception) -> Problem:
    instance = f"urn:uuid:{uuid4()}"
    # the line about the request names its route: what stands in a path may be somebody's
    _log.error("%s failed: %s", request.method, instance, exc_info=error)
    detail = f"The service failed in a way that it did not expect. Its log says more: look for {instance}."
    return Problem("internal-error", 500, "Internal error", detail, instance=instance)


def _shown(value: object, levels: int = _SHOWN_LEVELS) -> Any:
    """What was sent, as JSON that every reader can read, cut off visibly where it is long or deep."""
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) <= MAX_MAGNITUDE else _short(str(value))
        case float():
            return _NOT_FINITE.get(str(value), value)
        case dict() | list() if not levels:
            return "…"
        case dict():
            shown = {_short(name): _shown(each, levels - 1) for name, each in list(value.items())[:_SHOWN_ITEMS]}
            return shown | ({"…": f"{len(value)} in all"} if len(value) > _SHOWN_ITEMS else {})
        case list():
            more = [f"… {len(value)} in all"] if len(value) > _SHOWN_ITEMS else []
            return [_shown(each, levels - 1) for each in value[:_SHOWN_ITEMS]] + more
        case _:
            return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"
