"""Routes for model versions: list and get versions, promote one, and roll back."""

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
from housepredict.entrypoints.http.routes.page_routes import version_response

MODELS = openapi.Resource(
    "Models",
    openapi.named(
        *(Coverage, Bounds, Segment, IntervalChoice, EvaluationAnswer, OutOfTimeEvaluationAnswer),
        *(ModelAnswer, ModelVersionAnswer, ModelsAnswer),
    ),
)
_NAME = openapi.in_path("name", openapi.TEXT, "The name of the model version.")
_VERSION_PROBLEMS = ("unknown-version", "refused-version", "model-store-unavailable")
_LINKS: openapi.Json = {
    "version": openapi.link("getModel", "Get the version's details.", name="/model_version"),
    "promote": openapi.link("promoteModel", "Promote the version again.", name="/model_version"),
}


@MODELS.route(
    "GET /models",
    "listModels",
    openapi.Answer(
        "All model versions, and which one is promoted.",
        ModelsAnswer,
        links={
            "first": openapi.link("getModel", "Get the oldest version's details.", name="/models/0/model_version"),
            "promoteFirst": openapi.link("promoteModel", "Promote the oldest version.", name="/models/0/model_version"),
        },
    ),
    problems=("model-store-unavailable",),
)
def models(request: Request) -> Response:
    """List model versions."""
    application = application_of(request)
    document = models_document(application.models.versions(), application.models.pointer())
    return json_response(document | {"models": [_public(version) for version in document["models"]]})


@MODELS.route(
    "GET /models/{name}",
    "getModel",
    openapi.Answer(
        "The version, with its training and evaluation. Browsers get a page.",
        ModelVersionAnswer,
        also={openapi.HTML: openapi.TEXT},
        headers={**openapi.VARYING, **openapi.PAGE_HEADERS},
        always=["Vary"],
    ),
    problems=_VERSION_PROBLEMS,
    parameters=[_NAME],
)
def model(request: Request) -> Response:
    """Get a model version."""
    application, name = application_of(request), request.path_params["name"]
    version, promoted = _find(name, lambda: application.version(name)), application.models.pointer().name
    if prefers_html(request.headers):
        return version_response(application, version, promoted)
    return json_response(_public(model_document(version, promoted, ModelVersionAnswer)), headers=VARY)


@MODELS.route(
    "POST /models/{name}/promote",
    "promoteModel",
    openapi.Answer("The version, which is now in service.", ModelAnswer, links=_LINKS),
    problems=(*_VERSION_PROBLEMS, *openapi.BODY_PROBLEMS),
    parameters=[_NAME, openapi.CONTENT_ENCODING],
    protected=True,
    description="Puts the version in service, even if the promotion policy didn't promote it. Send no body.",
)
async def promote(request: Request) -> Response:
    """Promote a model version."""
    name = request.path_params["name"]
    return await _move_pointer(request, lambda application: application.promote(name))


@MODELS.route(
    "POST /models/rollback",
    "rollBackModel",
    openapi.Answer("The previously promoted version, which is now in service.", ModelAnswer, links=_LINKS),
    problems=(*_VERSION_PROBLEMS, *openapi.BODY_PROBLEMS),
    parameters=[openapi.CONTENT_ENCODING],
    protected=True,
    description="Each call goes back one more promotion. Send no body.",
)
async def rollback(request: Request) -> Response:
    """Roll back to the previously promoted version."""
    return await _move_pointer(request, lambda application: application.promote.rollback())


async def _move_pointer(request: Request, move: Callable[[Application], ModelVersion]) -> Response:
    application = application_of(request)
    await require_no_body(request)

    def promoted_document() -> dict[str, Any]:
        version = _find(request.path_params.get("name"), lambda: move(application))
        application.live_model.look()  # so that this process serves its next request with the version
        pointer = application.models.pointer()
        return _public(model_document(version, pointer.name, generation=pointer.generation))

    return json_response(await run_in_threadpool(promoted_document))


def _find(name: str | None, load: Callable[[], ModelVersion]) -> ModelVersion:
    """Return the model version that `load` loads. Raise a Problem if the version is unknown or rejected.

    `name` is the version name that the request contains. It is None for a rollback, which names no version.
    """
    try:
        return load()
    except UnknownModel as error:
        # The store's message may contain directory and host names.
        detail = f"There is no model version {name!r}. `GET /models` lists all of them." if name else str(error)
        raise Problem("unknown-version", detail) from error
    except RefusedModel as error:
        raise Problem("refused-version", str(error)) from error


def _public(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a version's document without `source`, which contains the sales file's path."""
    return {name: value for name, value in document.items() if name != "source"}
