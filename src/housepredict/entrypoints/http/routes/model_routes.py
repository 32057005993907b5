"""The model versions over HTTP: which there are, which is promoted, and another one's promotion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.domain.errors import RefusedModel, UnknownModel
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.answer_documents import model_document, models_document, version_document
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.access import require_access
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import VARY, application_of, prefers_html, require_no_body
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.routes.page_routes import of_version


def models(request: Request) -> Response:
    """List every version, oldest first."""
    application = application_of(request)
    document = models_document(application.models.versions(), application.models.pointer())
    return json_response(document | {"models": [_public(each) for each in document["models"]]})


def model(request: Request) -> Response:
    """One version, with how it came about; its page for a person's browser."""
    application, name = application_of(request), request.path_params["name"]
    version, promoted = _found(name, lambda: application.version(name)), application.models.pointer().name
    if prefers_html(request.headers):
        return of_version(application, version, promoted)
    return json_response(_public(version_document(version, promoted)), headers=VARY)


async def promote(request: Request) -> Response:
    """Let a version serve, whatever the promotion rule says of it."""
    name = request.path_params["name"]
    return await _moved(request, lambda application: application.promote(name))


async def rollback(request: Request) -> Response:
    """Go back to the version that was promoted before."""
    return await _moved(request, lambda application: application.promote.rollback())


async def _moved(request: Request, move: Callable[[Application], ModelVersion]) -> Response:
    application = application_of(request)
    require_access(request)
    await require_no_body(request)

    def moved() -> dict[str, Any]:
        version = _found(request.path_params.get("name"), lambda: move(application))
        application.live_model.look()  # so that the next request here is served by it
        pointer = application.models.pointer()
        return _public(model_document(version, pointer.name)) | {"generation": pointer.generation}

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


MODEL_ROUTES = (
    Route("/models", models),
    Route("/models/rollback", rollback, methods=["POST"]),
    Route("/models/{name}", model),
    Route("/models/{name}/promote", promote, methods=["POST"]),
)
