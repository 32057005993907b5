"""Error responses of the HTTP API, as problem documents (RFC 9457).

Each document has an additional member, `error`, for clients of the "Docker and Machine Learning" tutorial's service,
which housepredict can replace.

Problem types are URNs of the form `urn:housepredict:problem:NAME`. They are stable names to branch on, not addresses to
open.
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
"""The ASGI scope key for the Problem sent in response to a request."""

CLIENT_CLOSED_REQUEST = 499
"""The status logged for a request whose client disconnected before the response. nginx uses the same status."""

PROBLEM_JSON = "application/problem+json"
URN = "urn:housepredict:problem:"
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_SHOWN_ITEMS = 10
_SHOWN_LEVELS = 2


@define
class Problem(Exception):
    """An error response. Its problem type in PROBLEMS determines the status, the title and `Retry-After`.

    Args:
        name: the name of the problem type, such as `invalid-houses`.
        detail: what is wrong with this request, and what to do.
        violations: every rule that the body or the query violates.
        headers: additional headers of the response.
        error: the message in the format of the tutorial's API. Defaults to `detail`.
        instance: the id with which an internal error is logged.
        training: the path of the running training job, or None if it is unknown. Only for `training-in-progress`.
    """

    name: str
    detail: str
    violations: Sequence[Violation] = ()
    headers: Mapping[str, str] = field(factory=dict)
    error: str | None = None
    instance: str | None = None
    training: str | None = ABSENT

    def __attrs_post_init__(self) -> None:
        if seconds := PROBLEMS[self.name].retry_after:
            self.headers = {"Retry-After": str(seconds), **self.headers}

    @property
    def status(self) -> int:
        """The HTTP status."""
        return PROBLEMS[self.name].status

    @property
    def title(self) -> str:
        """A short summary, which is the same for all problems of this type."""
        return PROBLEMS[self.name].title

    def response(self) -> Response:
        """Build the response with the problem document."""
        return json_response(document(self, ProblemAnswer), self.status, self.headers, PROBLEM_JSON)


class NotStarted(RuntimeError):
    """The app was used outside of its lifespan."""

    def __init__(self) -> None:
        super().__init__(
            "The lifespan of housepredict's app is not running: Starlette and FastAPI don't run the lifespan of a "
            "mounted app. With `prices = housepredict.asgi_app()`, pass `lifespan=prices.router.lifespan_context` to "
            "the outer app, or enter it in the outer app's own lifespan: "
            "`async with prices.router.lifespan_context(prices): yield`."
        )


@frozen
class ProblemType:
    """A type of problem, with the properties that its problems share.

    Args:
        retry_after: how many seconds clients should wait before retrying.
        internal: whether the error message may contain host or file names. If so, it is logged but not sent.
        advice: a sentence to append to the error message.
        headers: the names of headers that every response of this type has, in addition to `Retry-After`.
        others: the names of headers that only some responses of this type have.
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
        """The headers that every response with a problem of this type has, including `Retry-After`, if any."""
        return self.headers if self.retry_after is None else ("Retry-After", *self.headers)


_TRAIN_ONE = " Train another with `housepredict train SALES.csv --price COLUMN`."

_REFUSED = ProblemType("refused-model", 503, "Model rejected")

# BrokenRules are handled by `_invalid`. InvalidSettings keep the service from starting.
PROBLEM_TYPES: Mapping[type[errors.HousepredictError], ProblemType] = {
    errors.NoModel: ProblemType("no-model", 503, "No model in service"),
    errors.RefusedModel: evolve(_REFUSED, advice=_TRAIN_ONE),
    errors.NewerModel: _REFUSED,
    errors.NoExplanation: ProblemType("no-explanation", 409, "Explanations unavailable"),
    errors.NoSnapshot: ProblemType("no-snapshot", 409, "No training snapshot"),
    errors.UnknownModel: ProblemType(
        "unknown-model", 503, "Promoted model not found", internal=True, advice=_TRAIN_ONE
    ),
    errors.ModelStoreUnavailable: ProblemType(
        "model-store-unavailable", 503, "Model store unavailable", 5, internal=True
    ),
    errors.RepositoryUnavailable: ProblemType("storage-unavailable", 503, "Storage unavailable", 5, internal=True),
    errors.TrainingInProgress: ProblemType(
        "training-in-progress", 409, "Training already in progress", 30, others=["Location"]
    ),
    errors.UnknownTraining: ProblemType("unknown-training", 404, "Training not found"),
    errors.TrainingEnded: ProblemType("training-ended", 409, "Training already ended"),
    errors.TrainingCancelled: ProblemType("training-cancelled", 409, "Training cancelled"),
    errors.TrainingBroken: ProblemType("training-failed", 500, "Training failed"),
    errors.UnreadableFile: ProblemType("unusable-sales", 409, "Unusable sales"),
    errors.UnknownPrediction: ProblemType("unknown-prediction", 404, "Prediction not found"),
    errors.ErasedPredictions: ProblemType("erased-predictions", 410, "Predictions erased"),
    errors.ErasedSales: ProblemType("erased-sales", 410, "Sales erased"),
    errors.RepeatedKey: ProblemType("repeated-key", 422, "Idempotency key reused"),
    errors.MissingExtra: ProblemType("missing-extra", 501, "Optional dependency not installed"),
    errors.UnusablePlugin: ProblemType("missing-extra", 501, "Optional dependency not installed", internal=True),
}
"""The problem type for each domain error."""

_OF_HTTP = (
    ProblemType("body-too-large", 413, "Request body too large"),
    ProblemType("forbidden", 403, "Forbidden"),
    ProblemType("headers-too-large", 431, "Request headers too large"),
    ProblemType("internal-error", 500, "Internal server error"),
    ProblemType("invalid-houses", 422, "Invalid house"),
    ProblemType("invalid-query", 422, "Invalid query"),
    ProblemType("invalid-sales", 422, "Invalid sale"),
    ProblemType("malformed-request", 400, "Malformed request"),
    ProblemType("missing-feature", 400, "Missing feature"),
    ProblemType("not-found", 404, "Not found"),
    ProblemType("not-gzip", 400, "Invalid gzip body"),
    ProblemType("not-json", 400, "Invalid JSON"),
    ProblemType("not-started", 503, "Service not started"),
    ProblemType("overloaded", 503, "Service overloaded", 1),
    ProblemType("refused-version", 409, "Model version rejected"),
    ProblemType("request-timeout", 408, "Request timeout"),
    ProblemType("too-many-connections", 503, "Too many connections", 1),
    ProblemType("unauthorized", 401, "Unauthorized", headers=["WWW-Authenticate"]),
    ProblemType("unknown-version", 404, "Model version not found"),
    ProblemType("unsupported-media-type", 415, "Unsupported media type", others=["Accept", "Accept-Encoding"]),
    ProblemType("wrong-method", 405, "Method not allowed", headers=["Allow"]),
)
"""The problem types that don't correspond to a domain error."""

PROBLEMS = {kind.name: kind for kind in (*_OF_HTTP, *PROBLEM_TYPES.values())}
"""All problem types, by name."""

TypeName = Annotated[str, keywords(enum=tuple(URN + name for name in sorted(PROBLEMS)))]
Status = Annotated[int, keywords(minimum=400, maximum=599)]


@document_class
class ProblemAnswer:
    """An error (RFC 9457)."""

    type: TypeName = part(lambda problem: URN + problem.name, "The type of error, as a stable name to branch on.")
    title: str = part(about="A short summary, which is the same for all errors of this type.")
    status: Status = part(about="The HTTP status.")
    detail: str = part(about="What is wrong with this request, and what to do.")
    error: str = part(lambda problem: problem.error or problem.detail, "The message in the tutorial's format.")
    instance: str | None = part(about="The id of this error in the service's log.", optional=True)
    violations: Sequence[ViolationAnswer] | None = part(
        lambda problem: problem.violations or None, "Every violated rule.", optional=True
    )
    training: str | None = part(about="The path of the running training job.", optional=True, nullable=True)


@document_class
class ViolationAnswer:  # noqa: D101  # its docstring would be its description in the OpenAPI document
    pointer: str = part(
        lambda violation: _short(violation.pointer),
        "A JSON pointer (RFC 6901) to the value in the body, or `/` followed by the name of a query parameter.",
    )
    rule: Rule = part(about="The rule that the value violates.")
    message: str = part(lambda violation: _short(violation.message), "What is wrong with the value.")
    value: Any = part(lambda violation: _shown(violation.value), "The invalid value. Long values are truncated.")


async def answer(request: Request, error: Exception) -> Response:
    """Build the response to a request that raised an error."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # only for the log and the metrics
    if isinstance(error, HTTPException) and request.method == "OPTIONS" and error.headers:
        return Response(status_code=204, headers={"Allow": ", ".join(_allowed(error))})
    if isinstance(error, errors.BrokenRules):
        # Listing the violations of a large body would block the event loop.
        problem = await run_in_threadpool(_invalid, error)
        response = await run_in_threadpool(problem.response)
    else:
        problem = problem_of(request, error)
        response = problem.response()
    request.scope[PROBLEM] = problem
    return response


def problem_of(request: Request, error: Exception) -> Problem:
    """Return the problem for an error. An unexpected error is logged, and reported as an internal error."""
    match error:
        case Problem():
            return error
        case errors.BrokenRules():
            return _invalid(error)
        case NotStarted():
            _log.error("%s", error)
            return Problem("not-started", str(error))
        case errors.TrainingInProgress(training=UUID() as id_):
            path = address(request, f"/trainings/{id_}")
            return evolve(_known(error), headers={"Location": path}, training=path)
        case errors.TrainingInProgress():
            return evolve(_known(error), training=None)
        case HTTPException(status_code=404):
            return Problem("not-found", "Nothing is served at this address. `GET /` lists all routes.")
        case HTTPException(status_code=405):
            *others, last = allowed = _allowed(error)
            detail = f"{request.method} is not allowed here; use {', '.join(others)} or {last}."
            return Problem("wrong-method", detail, headers={"Allow": ", ".join(allowed)})
        case errors.HousepredictError() if any(base in PROBLEM_TYPES for base in type(error).__mro__):
            return _known(error)
    return _unexpected(request, error)


def address(request: Request, path: str) -> str:
    """Return the path of a route as clients see it, which includes the path at which the app is mounted."""
    return quote(request.scope.get("root_path", "").rstrip("/")) + path


def _allowed(error: HTTPException) -> Sequence[str]:
    return sorted({"OPTIONS", *(error.headers or {})["Allow"].split(", ")})


def _known(error: errors.HousepredictError) -> Problem:
    kind = next(PROBLEM_TYPES[base] for base in type(error).__mro__ if base in PROBLEM_TYPES)
    detail = str(error)
    if kind.internal:
        _log.error("%s: %s", kind.title, error)
        detail = str(type(error)())  # the generic message of its class
    return Problem(kind.name, detail + kind.advice)


def _invalid(error: errors.BrokenRules) -> Problem:
    """Return the problem for invalid input.

    The status is 400 if a feature is missing, as in the tutorial's API, and 422 otherwise.
    """
    violations = error.violations
    if isinstance(error, errors.InvalidOptions):
        return Problem("invalid-query", summary(violations), violations)
    if isinstance(error, errors.InvalidSales):
        return Problem("invalid-sales", summary(violations), violations)
    missing = next((violation for violation in violations if violation.rule is Rule.MISSING), None)
    if missing is None:
        return Problem("invalid-houses", summary(violations), violations)
    feature = missing.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
    return Problem("missing-feature", summary(violations), violations, error=f"Missing field: {feature}")


def summary(violations: Sequence[Violation]) -> str:
    """Describe the first violation, and say how many more there are."""
    more = f" ({len(violations) - 1} more in `violations`)" if len(violations) > 1 else ""
    return _short(violations[0].describe()) + more


def _unexpected(request: Request, error: Exception) -> Problem:
    instance = f"urn:uuid:{uuid4()}"
    # A path may contain personal data; the access log has the route instead.
    _log.error("%s failed: %s", request.method, instance, exc_info=error)
    detail = f"The service failed unexpectedly. For details, search its log for {instance}."
    return Problem("internal-error", detail, instance=instance)


def _shown(value: object, levels: int = _SHOWN_LEVELS) -> Any:
    """Return a request value as standard JSON. Long or deeply nested values are truncated with an ellipsis.

    `levels` is the number of nested levels to include.
    """
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
            shown = {_short(name): _shown(item, levels - 1) for name, item in list(value.items())[:_SHOWN_ITEMS]}
            return shown | ({"…": f"{len(value)} in all"} if len(value) > _SHOWN_ITEMS else {})
        case list():
            more = [f"… {len(value)} in all"] if len(value) > _SHOWN_ITEMS else []
            return [_shown(item, levels - 1) for item in value[:_SHOWN_ITEMS]] + more
        case _:
            return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"
