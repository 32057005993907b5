"""Routes for training jobs: start, follow and cancel them. Each job runs in a separate process."""

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
from housepredict.entrypoints.http.queries import LIMIT, read_limit, retraining_request, training_request
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
_ID = openapi.in_path("id", openapi.ID, "The id of the training job.")
_LINKS: openapi.Json = {
    "progress": openapi.link("getTraining", "Get the progress of the training job.", id="/id"),
    "cancel": openapi.link("cancelTraining", "Cancel the training job.", id="/id"),
}
ENCODINGS = ["utf-8", "cp1250", "cp1251", "cp1252", "mac_roman", "gb18030", "big5", "cp932", "cp949"]
"""Examples of CSV encodings."""


@TRAININGS.route(
    "POST /train",
    "train",
    openapi.Answer("The new model version.", TrainedAnswer),
    openapi.Answer(
        "The training job has started. Only sent with `Prefer: respond-async`.",
        TrainingAnswer,
        headers={"Location": openapi.TEXT, "Preference-Applied": openapi.TEXT},
        always=("Location", "Preference-Applied"),
        links=_LINKS,
        status=202,
    ),
    problems=(
        *("training-in-progress", "training-cancelled", "unusable-sales", "training-failed", "missing-extra"),
        *(*openapi.BODY_PROBLEMS, "invalid-query", "storage-unavailable", *openapi.SERVING),
    ),
    parameters=[
        openapi.CONTENT_ENCODING,
        openapi.header(
            "Prefer", openapi.TEXT, "`respond-async`: respond as soon as the training job starts (RFC 7240)."
        ),
        openapi.query("from_sales", openapi.FLAG, "Train on the recorded sales, too."),
        openapi.query("price", _COLUMN, "The column with the sale price. Detected by default."),
        openapi.query("sale_date", _COLUMN, "The column with the sale date. Detected by default."),
        openapi.query("house_id", _COLUMN, "The column that identifies a house. Detected by default."),
        openapi.query(
            "feature",
            _COLUMN,
            "A column to use as a feature. If any are given, all other columns are ignored.",
            repeatable=True,
        ),
        openapi.query("exclude", _COLUMN, "A column to ignore.", repeatable=True),
        openapi.query(
            "closed",
            _COLUMN,
            "A column whose set of categories is closed. New categories are invalid.",
            repeatable=True,
        ),
        openapi.query("allow", _COLUMN, "A column to use even if it seems to reveal the price.", repeatable=True),
        openapi.query("type", _TYPES, "The kind of a column, as COLUMN=KIND. At most once for each column."),
        openapi.query("algorithm", openapi.enum_of(Algorithm), "The learning algorithm."),
        openapi.query("effort", openapi.enum_of(Effort), "How thoroughly to search for the best model."),
        openapi.query("seed", {"type": "integer", "minimum": 0, "maximum": MAX_SEED}, "The random seed."),
        openapi.query(
            "time_limit",
            {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS},
            "The time limit of the search, in seconds.",
        ),
        openapi.query(
            "encoding",
            {"type": "string", "examples": ENCODINGS},
            "The encoding of a CSV file, as named in Python. Detected by default.",
        ),
        openapi.query("promote", openapi.enum_of(PromotionPolicy), "When to put the new version in service."),
    ],
    body={
        **{media_type: {"schema": openapi.FILE} for media_type in TYPES},
        openapi.JSON: {"schema": {"type": "object", "maxProperties": 0}},
    },
    body_required=False,
    protected=True,
    description="Send a sales file in CSV, gzipped CSV or Parquet. The format is detected from the first bytes. CSV "
    "may also be sent with `Content-Encoding: gzip`. Without a body, or with an empty JSON object, the version in "
    "service is retrained on the current content of its sales file. `from_sales` is the only parameter allowed then.",
)
async def train(request: Request) -> Response:
    """Train a model on a sales file, or retrain the model in service."""
    application = application_of(request)
    training = await _read_request(request, application)
    try:
        job = await run_in_threadpool(application.training_jobs.start, training)
    except BaseException:
        if training.location:
            await run_in_threadpool(Path(training.location).unlink, missing_ok=True)
        raise
    if training.location:
        job.ended.add_done_callback(partial(_remove_unless_used, application, job, Path(training.location)))
    if _prefers_async(request.headers):
        status = await run_in_threadpool(application.trainings.get, job.id)
        headers = {"Location": address(request, f"/trainings/{job.id}"), "Preference-Applied": "respond-async"}
        return json_response(document(status, TrainingAnswer), 202, headers)
    # Shielded, so that a client that disconnects doesn't cancel the training job.
    await asyncio.shield(asyncio.wrap_future(job.ended))
    return await run_in_threadpool(_trained, application, job)


async def _read_request(request: Request, application: Application) -> TrainingRequest:
    timeout = running_service(request.app).estimator.body_timeout

    async def read_parameters() -> TrainingRequest:
        require_type(request, reads_parquet=application.reads_parquet)
        require_length(request.headers, application.settings.max_upload, "MAX_UPLOAD")
        request.scope[UPLOAD] = application.settings.max_upload
        parameters = training_request(request.query_params)
        if (charset := charset_of(request.headers)) and parameters.options.encoding is None:
            parameters = evolve(parameters, options=evolve(parameters.options, encoding=charset))
        await run_in_threadpool(application.trainings.require_no_training)
        return parameters

    # An invalid request is rejected before the client sends a large body.
    training = await read_parameters() if announces_sales(request.headers) else None
    body = await Body.start(request, timeout)
    if training is None and body.is_empty and not describes_sales(request):
        return await _read_retraining_request(request, application)
    training = training or await read_parameters()
    suffix = suffix_of(request, body.first, reads_parquet=application.reads_parquet)
    return evolve(training, location=str(await receive_upload(body, application.settings, suffix)))


async def _read_retraining_request(request: Request, application: Application) -> TrainingRequest:
    training = retraining_request(request.query_params)
    await run_in_threadpool(application.trainings.require_no_training)
    await run_in_threadpool(application.live_model.look)  # so that the latest promoted version is retrained
    if training.with_recorded:
        return training
    in_service = await run_in_threadpool(application.live_model.current)
    return evolve(training, again=in_service.version.name)


def _trained(application: Application, job: TrainingJob) -> Response:
    outcome = application.trainings.get(job.id).outcome
    assert outcome  # noqa: S101  # the training job has ended
    assert outcome.version  # noqa: S101  # successfully
    version = application.models.get(outcome.version)[0]
    trained = document(version, TrainedAnswer, promoted=outcome.promoted, reasons=outcome.reasons)
    return json_response(trained)


@TRAININGS.route(
    "GET /trainings",
    "listTrainings",
    openapi.Answer(
        "Running and ended training jobs, newest first.",
        TrainingsAnswer,
        links={"newest": openapi.link("getTraining", "Get the newest training job.", id="/trainings/0/id")},
    ),
    problems=("invalid-query", "model-store-unavailable"),
    parameters=[openapi.query("limit", LIMIT, "The maximum number of training jobs.")],
    protected=True,
)
def trainings(request: Request) -> Response:
    """List training jobs, newest first (?limit=10)."""
    application = application_of(request)
    recent = application.trainings.recent(read_limit(request.query_params))
    for newest in recent[:1]:
        _load_promoted(application, newest)
    return json_response(document(recent, TrainingsAnswer))


@TRAININGS.route(
    "GET /trainings/{id}",
    "getTraining",
    openapi.Answer("The training job, with its progress and result.", TrainingAnswer),
    problems=("unknown-training", "model-store-unavailable"),
    parameters=[_ID],
    protected=True,
)
def training(request: Request) -> Response:
    """Get the progress and result of a training job."""
    application = application_of(request)
    status = application.trainings.get(_id(request))
    _load_promoted(application, status)
    return json_response(document(status, TrainingAnswer))


@TRAININGS.route(
    "DELETE /trainings/{id}",
    "cancelTraining",
    openapi.Answer("The training job, which is being cancelled.", TrainingAnswer, status=202),
    problems=("unknown-training", "training-ended", "model-store-unavailable"),
    parameters=[_ID],
    protected=True,
)
def cancel(request: Request) -> Response:
    """Cancel a training job."""
    return json_response(document(application_of(request).trainings.cancel(_id(request)), TrainingAnswer), 202)


def _load_promoted(application: Application, status: TrainingStatus) -> None:
    """Load a newly promoted version now, so that it is in service before the client learns of the promotion."""
    if status.outcome and status.outcome.promoted and status.outcome.version != _in_service(application):
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
        raise UnknownTraining(f"There is no training job {text!r}.") from None


def _prefers_async(headers: Headers) -> bool:
    """Return whether the client prefers a response before the training job ends (RFC 7240)."""
    items = (item.partition(";")[0].strip() for value in headers.getlist("prefer") for item in value.split(","))
    return "respond-async" in map(str.lower, items)


def _remove_unless_used(application: Application, job: TrainingJob, upload: Path, _ended: Future[None]) -> None:
    """Delete an uploaded sales file, unless a stored version was trained on it and may need it for retraining.

    Even the file of a failed job may be in use, because the job may have stored a version before it failed.
    """
    try:
        status: TrainingStatus = application.trainings.get(job.id)
        is_used = str(upload) in {version.source.location for version in application.models.versions()}
    except HousepredictError:
        return  # whether the file is used is unknown
    if status.outcome and not is_used:
        upload.unlink(missing_ok=True)
