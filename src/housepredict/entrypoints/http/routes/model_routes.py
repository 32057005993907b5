"""The model versions over HTTP: which there are, which is promoted, and another one's promotion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.errors import RefusedModel, UnknownModel
from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.measures import Bounds, Coverage, Segment
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.answers import (
    EvaluationAnswer,
    ModelAnswer,
    ModelsAnswer,
    ModelVersionAnswer,
    OutOfTimeEvaluationAnswer,
    model_document,
    models_document,
)
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import VARY, application_of, prefers_html, require_no_body
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.routes.page_routes import of_version

MODELS = openapi.Resource(
    "Models",
    openapi.named(
        *(Coverage, Bounds, Segment, IntervalChoice, EvaluationAnswer, OutOfTimeEvaluationAnswer),
        *(ModelAnswer, ModelVersionAnswer, ModelsAnswer),
    ),
)
_NAME = openapi.in_path("name", openapi.TEXT, "The name of a model version.")
_OF_A_VERSION = ("unknown-version", "refused-version", "model-store-unavailable")
_LINKS: openapi.Json = {
    "version": openapi.link("getModel", "How it came about.", name="/model_version"),
    "promote": openapi.link("promoteModel", "Let it serve again, after others have.", name="/model_version"),
}


@MODELS.route(
    "GET /models",
    "listModels",
    openapi.Answer(
        "All versions, and which is promoted.",
        ModelsAnswer,
        links={
            "first": openapi.link("getModel", "How the oldest came about.", name="/models/0/model_version"),
            "promoteFirst": openapi.link("promoteModel", "Let the oldest serve.", name="/models/0/model_version"),
        },
    ),
    problems=("model-store-unavailable",),
)
def models(request: Request) -> Response:
    """The model versions, and the promoted one."""
    application = application_of(request)
    document = models_document(application.models.versions(), application.models.pointer())
    return json_response(document | {"models": [_public(each) for each in document["models"]]})


@MODELS.route(
    "GET /models/{name}",
    "getModel",
    openapi.Answer(
        "The version, with how it came about; for browsers as a page.",
        ModelVersionAnswer,
        also={openapi.HTML: openapi.TEXT},
        headers={**openapi.VARYING, **openapi.OF_PAGE},
        always=["Vary"],
    ),
    problems=_OF_A_VERSION,
    parameters=[_NAME],
)
def model(request: Request) -> Response:
    """One model version, with how it came about."""
    application, name = application_of(request), request.path_params["name"]
    version, promoted = _found(name, lambda: application.version(name)), application.models.pointer().name
    if prefers_html(request.headers):
        return of_version(application, version, promoted)
    return json_response(_public(model_document(version, promoted, ModelVersionAnswer)), headers=VARY)


@MODELS.route(
    "POST /models/{name}/promote",
    "promoteModel",
    openapi.Answer("The version, which serves from now on.", ModelAnswer, links=_LINKS),
    problems=(*_OF_A_VERSION, *openapi.PACKABLE),
    parameters=[_NAME, openapi.CONTENT_ENCODING],
    protected=True,
    description="Whatever the promotion rule says of the version. A body is ignored.",
)
async def promote(request: Request) -> Response:
    """Let another version serve."""
    name = request.path_params["name"]
    return await _moved(request, lambda application: application.promote(name))


@MODELS.route(
    "POST /models/rollback",
    "rollBackModel",
    openapi.Answer("The version that was promoted before, which serves from now on.", ModelAnswer, links=_LINKS),
    problems=(*_OF_A_VERSION, *openapi.PACKABLE),
    parameters=[openapi.CONTENT_ENCODING],
    protected=True,
    description="Each call goes back further. A body is ignored.",
)
async def rollback(request: Request) -> Response:
    """Go back to the version that was promoted before."""
    return await _moved(request, lambda application: application.promote.rollback())


async def _moved(request: Request, move: Callable[[Application], ModelVersion]) -> Response:
    application = application_of(request)
    await require_no_body(request)

    def moved() -> dict[str, Any]:
        version = _found(request.path_params.get("name"), lambda: move(application))
        application.live_model.look()  # so that the next request here is served by it
        pointer = application.models.pointer()
        return _public(model_document(version, pointer.name, generation=pointer.generation))

    return json_response(await run_in_threadpool(moved))


def _found(name: str | None, look: Callable[[], ModelVersion]) -> ModelVersion:
    """Here the version that was asked for is at fault, and not the one that serves."""
    try:
        return look()
    except UnknownModel as error:
        # what a store says of it names folders and hosts
        detail = f"There is no version {name!r}: see `GET /models`." if name else str(error)
        raise Problem("unknown-version", 404, "There is no such version", detail) from error
    except RefusedModel as error:
        raise Problem("refused-version", 409, "The version is refused", str(error)) from error


def _public(document: dict[str, Any]) -> dict[str, Any]:
    """Without where the sales are on the disk of whoever trained."""
    return {name: value for name, value in document.items() if name != "source"}
