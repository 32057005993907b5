"""Training over HTTP: asked for with a request, followed with others, and done in a process beside the service."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

from attrs import evolve
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.errors import HousepredictError, UnknownTraining
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Kind
from housepredict.domain.training_options import MAX_SECONDS, MAX_SEED, Algorithm, Effort
from housepredict.domain.training_status import TrainingStatus
from housepredict.entrypoints.answers import TrainedAnswer, TrainingAnswer, TrainingsAnswer
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.problems import address
from housepredict.entrypoints.http.queries import LIMIT, listed, retraining_request, training_request
from housepredict.entrypoints.http.requests import UPLOAD, application_of, charset_of, require_length
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.http.uploads import (
    TYPES,
    Body,
    announces_sales,
    describes_sales,
    receive_upload,
    require_type,
    suffix_of,
)
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.training_processes import TrainingJob, TrainingRequest

TRAININGS = openapi.Resource("Trainings", openapi.named(TrainingAnswer, TrainingsAnswer, TrainedAnswer))
_COLUMN: openapi.Json = {
    "type": "string",
    "minLength": 1,
    "pattern": "^[^\\u0000]*[^\\u0000\\s][^\\u0000]*$",
}
_TYPES: openapi.Json = {
    **openapi.list_of({"type": "string", "pattern": f"^[^\\u0000=]+=({'|'.join(Kind)})$"}),
    "uniqueItems": True,
}
_ID = openapi.in_path("id", openapi.ID, "The id of a training.")
_LINKS: openapi.Json = {
    "progress": openapi.link("getTraining", "How far it is.", id="/id"),
    "cancel": openapi.link("cancelTraining", "Its end.", id="/id"),
}
ENCODINGS = ["utf-8", "cp1250", "cp1251", "cp1252", "mac_roman", "gb18030", "big5", "cp932", "cp949"]
"""Examples of encodings that CSV may be in."""


@TRAININGS.route(
    "POST /train",
    "train",
    openapi.Answer("Trained.", TrainedAnswer),
    openapi.Answer(
        "The training has begun, with `Prefer: respond-async`.",
        TrainingAnswer,
        headers={"Location": openapi.TEXT, "Preference-Applied": openapi.TEXT},
        always=("Location", "Preference-Applied"),
        links=_LINKS,
        status=202,
    ),
    problems=(
        *("training-in-progress", "training-cancelled", "unusable-sales", "training-failed", "missing-extra"),
        *(*openapi.PACKABLE, "invalid-query", "storage-unavailable", *openapi.SERVING),
    ),
    parameters=[
        openapi.CONTENT_ENCODING,
        openapi.header("Prefer", openapi.TEXT, "`respond-async`: answer as soon as the training has begun (RFC 7240)."),
        openapi.query("from_sales", openapi.FLAG, "Whether to train on the sales that came back, too."),
        openapi.query("price", _COLUMN, "The column of prices."),
        openapi.query("sale_date", _COLUMN, "The column of sale dates."),
        openapi.query("house_id", _COLUMN, "The column that tells houses apart."),
        openapi.query("feature", _COLUMN, "Use these columns alone.", repeatable=True),
        openapi.query("exclude", _COLUMN, "Leave these columns out.", repeatable=True),
        openapi.query("closed", _COLUMN, "The categories of these columns are complete.", repeatable=True),
        openapi.query("allow", _COLUMN, "Use these columns though they seem to give the price away.", repeatable=True),
        openapi.query("type", _TYPES, "What a column is: COLUMN=KIND, once for a column."),
        openapi.query("algorithm", openapi.enum_of(Algorithm), "How to fit."),
        openapi.query("effort", openapi.enum_of(Effort), "How much the search for the best model may cost."),
        openapi.query("seed", {"type": "integer", "minimum": 0, "maximum": MAX_SEED}, "What chance begins with."),
        openapi.query("time_limit", {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS}, "In seconds."),
        openapi.query(
            "encoding",
            {"type": "string", "examples": ENCODINGS},
            "The encoding of CSV: any that Python knows; told by its bytes if not given.",
        ),
        openapi.query("promote", openapi.enum_of(PromotionPolicy), "When the new version is to serve."),
    ],
    body={
        **{media_type: {"schema": openapi.FILE} for media_type in TYPES},
        openapi.JSON: {"schema": {"type": "object", "maxProperties": 0}},
    },
    body_required=False,
    protected=True,
    description="Without a body, or with an empty JSON object, on the sales of the version in service as they "
    "are now; `from_sales` is the only parameter then. CSV may come with `Content-Encoding: gzip`. The first "
    "bytes of the body tell CSV, gzip and Parquet apart; a body of another type is refused.",
)
async def train(request: Request) -> Response:
    """Retrain the model on the sales that it was trained on, or train one on those that are sent."""
    application = application_of(request)
    wanted = await _wanted(request, application)
    try:
        job = await run_in_threadpool(application.training_jobs.start, wanted)
    except BaseException:
        if wanted.location:
            await run_in_threadpool(Path(wanted.location).unlink, missing_ok=True)
        raise
    if wanted.location:
        job.ended.add_done_callback(partial(_remove_unless_used, application, job, Path(wanted.location)))
    if _prefers_not_to_wait(request.headers):
        record = await run_in_threadpool(application.trainings.get, job.id)
        headers = {"Location": address(request, f"/trainings/{job.id}"), "Preference-Applied": "respond-async"}
        return json_response(document(record, TrainingAnswer), 202, headers)
    # shielded: a client that leaves ends no training
    await asyncio.shield(asyncio.wrap_future(job.ended))
    return await run_in_threadpool(_made, application, job)


async def _wanted(request: Request, application: Application) -> TrainingRequest:
    timeout = running_service(request.app).estimator.body_timeout

    async def asked() -> TrainingRequest:
        require_type(request, reads_parquet=application.reads_parquet)
        require_length(request.headers, application.settings.max_upload, "MAX_UPLOAD")
        request.scope[UPLOAD] = application.settings.max_upload
        found = training_request(request.query_params)
        if (charset := charset_of(request.headers)) and found.options.encoding is None:
            found = evolve(found, options=evolve(found.options, encoding=charset))
        await run_in_threadpool(application.trainings.require_none)
        return found

    # before anything large is sent for nothing
    sales = await asked() if announces_sales(request.headers) else None
    body = await Body.begun(request, timeout)
    if sales is None and body.is_empty and not describes_sales(request):
        return await _again(request, application)
    sales = sales or await asked()
    suffix = suffix_of(request, body.first, reads_parquet=application.reads_parquet)
    return evolve(sales, location=str(await receive_upload(body, application.settings, suffix)))


async def _again(request: Request, application: Application) -> TrainingRequest:
    """How to train on the sales of the version in service. Raises a Problem, TrainingInProgress or NoModel."""
    asked = retraining_request(request.query_params)
    await run_in_threadpool(application.trainings.require_none)
    await run_in_threadpool(application.live_model.look)  # what was promoted a moment ago is what is trained again
    if asked.with_recorded:
        return asked
    in_service = await run_in_threadpool(application.live_model.current)
    return evolve(asked, again=in_service.version.name)


def _made(application: Application, job: TrainingJob) -> Response:
    outcome = application.trainings.get(job.id).outcome
    assert outcome  # noqa: S101  # it has ended
    assert outcome.version  # noqa: S101  # and well
    version = application.models.get(outcome.version)[0]
    trained = document(version, TrainedAnswer, promoted=outcome.promoted, reasons=outcome.reasons)
    return json_response(trained)


@TRAININGS.route(
    "GET /trainings",
    "listTrainings",
    openapi.Answer(
        "Trainings under way and over, newest first.",
        TrainingsAnswer,
        links={"newest": openapi.link("getTraining", "The newest of them.", id="/trainings/0/id")},
    ),
    problems=("invalid-query", "model-store-unavailable"),
    parameters=[openapi.query("limit", LIMIT, "How many to list.")],
    protected=True,
)
def trainings(request: Request) -> Response:
    """Get recent trainings, newest first (?limit=10)."""
    application = application_of(request)
    found = application.trainings.recent(listed(request.query_params))
    for newest in found[:1]:
        _keep_the_word_of(application, newest)
    return json_response(document(found, TrainingsAnswer))


@TRAININGS.route(
    "GET /trainings/{id}",
    "getTraining",
    openapi.Answer("How far it is, and what came of it.", TrainingAnswer),
    problems=("unknown-training", "model-store-unavailable"),
    parameters=[_ID],
    protected=True,
)
def training(request: Request) -> Response:
    """Get a training: how far it is, and what came of it."""
    application = application_of(request)
    record = application.trainings.get(_id(request))
    _keep_the_word_of(application, record)
    return json_response(document(record, TrainingAnswer))


@TRAININGS.route(
    "DELETE /trainings/{id}",
    "cancelTraining",
    openapi.Answer("It is asked to end.", TrainingAnswer, status=202),
    problems=("unknown-training", "training-ended", "model-store-unavailable"),
    parameters=[_ID],
    protected=True,
)
def cancel(request: Request) -> Response:
    """Cancel a training."""
    return json_response(document(application_of(request).trainings.cancel(_id(request)), TrainingAnswer), 202)


def _keep_the_word_of(application: Application, record: TrainingStatus) -> None:
    """Whoever reads that a version was promoted finds it in service, also while its process is about to end."""
    if record.outcome and record.outcome.promoted and record.outcome.version != _in_service(application):
        application.live_model.look()


def _in_service(application: Application) -> str | None:
    with suppress(HousepredictError):
        return application.live_model.in_service().version.name
    return None


def _id(request: Request) -> UUID:
    text: str = request.path_params["id"]
    try:
        return UUID(text)
    except ValueError:
        raise UnknownTraining(f"{text!r} is no training's id") from None


def _prefers_not_to_wait(headers: Headers) -> bool:
    """Whether the client prefers an answer before the training is done (RFC 7240)."""
    preferences = (each.partition(";")[0].strip() for value in headers.getlist("prefer") for each in value.split(","))
    return "respond-async" in map(str.lower, preferences)


def _remove_unless_used(application: Application, job: TrainingJob, upload: Path, _ended: Future[None]) -> None:
    """Remove sales that no version was trained on; what one was trained on, it is trained on again.

    The versions decide, and not the log: a version may be stored by a training that failed later.
    """
    try:
        record: TrainingStatus = application.trainings.get(job.id)
        used = str(upload) in {version.source.location for version in application.models.versions()}
    except HousepredictError:
        return  # better kept for nothing than lost
    if record.outcome and not used:
        upload.unlink(missing_ok=True)
