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
from starlette.routing import Route

from housepredict.domain.errors import HousepredictError, UnknownTraining
from housepredict.domain.training_status import TrainingStatus
from housepredict.entrypoints.answer_documents import evaluation_document, intervals_document, training_record_document
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.access import require_access
from housepredict.entrypoints.http.problems import address
from housepredict.entrypoints.http.queries import listed
from housepredict.entrypoints.http.requests import UPLOAD, application_of, charset_of, require_length
from housepredict.entrypoints.http.responses import json_response
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.http.uploads import (
    Body,
    announces_sales,
    describes_sales,
    receive_upload,
    require_type,
    retraining_request,
    suffix_of,
    training_request,
)
from housepredict.entrypoints.training_processes import Job, TrainingRequest


async def train(request: Request) -> Response:
    """Train anew on the sales of the model in service, as they are now, or on those in the body."""
    application = application_of(request)
    require_access(request)
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
        return json_response(training_record_document(record), 202, headers)
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


def _made(application: Application, job: Job) -> Response:
    outcome = application.trainings.get(job.id).outcome
    assert outcome  # noqa: S101  # it has ended
    assert outcome.version  # noqa: S101  # and well
    version = application.models.get(outcome.version)[0]
    return json_response(
        {
            "message": "Model retrained successfully",
            "model_version": version.name,
            "promoted": outcome.promoted,
            "reasons": outcome.reasons,
            "rejected_rows": dict(version.source.rejected),
            "notes": version.source.notes,
            "intervals": intervals_document(version.intervals),
            "evaluation": evaluation_document(version.evaluation),
        }
    )


def trainings(request: Request) -> Response:
    """What was trained, newest first, by whomever."""
    require_access(request)
    application = application_of(request)
    found = application.trainings.recent(listed(request.query_params))
    for newest in found[:1]:
        _keep_the_word_of(application, newest)
    return json_response({"trainings": [training_record_document(each) for each in found]})


def training(request: Request) -> Response:
    """A training: what is known of it, or with DELETE its end."""
    require_access(request)
    application, id_ = application_of(request), _id(request)
    if request.method == "DELETE":
        return json_response(training_record_document(application.trainings.cancel(id_)), 202)
    record = application.trainings.get(id_)
    _keep_the_word_of(application, record)
    return json_response(training_record_document(record))


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


def _remove_unless_used(application: Application, job: Job, upload: Path, _ended: Future[None]) -> None:
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


TRAINING_ROUTES = (
    Route("/train", train, methods=["POST"]),
    Route("/trainings", trainings),
    Route("/trainings/{id}", training, methods=["GET", "DELETE"]),
)
