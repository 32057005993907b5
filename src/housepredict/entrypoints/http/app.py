"""The ASGI app: routes, middleware, error handlers, and a lifespan that opens and closes the app's resources."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, evolve
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from housepredict.domain.errors import HousepredictError
from housepredict.domain.usecases.predict import DEMONSTRATION
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.batching import Estimator
from housepredict.entrypoints.http.observer import Observer
from housepredict.entrypoints.http.problems import answer
from housepredict.entrypoints.http.request_metrics import BatchMeter, Meter, SharedCounters
from housepredict.entrypoints.http.routes.route_table import ROUTES
from housepredict.entrypoints.http.service_state import RunningService, ServiceState, state_of
from housepredict.entrypoints.settings import Settings, read_settings
from housepredict.entrypoints.telemetry import Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_METHODS = ("DELETE", "GET", "POST")
_HEADERS = ("Authorization", "Content-Encoding", "Idempotency-Key", "Inference-Header-Content-Length", "Prefer")
_EXPOSED = ("Inference-Header-Content-Length", "Link", "Location", "Preference-Applied", "Retry-After")


_DAY_S, _HOUR_S = 86_400.0, 3600.0

_log = logging.getLogger(__name__)


@define
class ObserveRequests:
    """Middleware that counts, logs and traces requests during the app's lifespan."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        running = state_of(scope["app"]).running if scope["type"] == "http" else None
        if running is None:
            await self.app(scope, receive, send)
        else:
            await running.observer.observe(self.app, scope, receive, send, time.perf_counter())


@define
class Cors:
    """CORS middleware that reads the allowed origins from the settings, which are loaded after the app is created."""

    app: ASGIApp
    _origins: Sequence[str] = ()
    _inner: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and add CORS headers to its response."""
        running = state_of(scope["app"]).running if scope["type"] == "http" else None
        origins: Sequence[str] = running.application.settings.cors_origins if running else ()
        if origins is not self._origins:
            self._origins = origins
            cors = partial(CORSMiddleware, allow_methods=_METHODS, allow_headers=_HEADERS, expose_headers=_EXPOSED)
            self._inner = cors(self.app, allow_origins=origins) if origins else None
        await (self._inner or self.app)(scope, receive, send)


def asgi_app(
    settings: Settings | None = None,
    *,
    application: Application | None = None,
    embedded: bool = True,
    meter: Meter | None = None,
    tracer_provider: TracerProvider | None = None,
) -> Starlette:
    """Create the service as an ASGI app, to run standalone or to mount in another app.

    Creating the app does no I/O. The app's lifespan opens and closes the model store and the prediction store.
    Starlette and FastAPI don't run the lifespan of a mounted app, so pass the lifespan to the outer app, or enter it in
    the outer app's own lifespan:

        prices = housepredict.asgi_app()

        app = FastAPI(lifespan=prices.router.lifespan_context)
        app.mount("/prices", prices)

        @asynccontextmanager
        async def lifespan(app):
            async with prices.router.lifespan_context(prices):
                yield

    Args:
        settings: the settings. Defaults to those in the environment.
        application: an open application to use instead of `settings`. It stays open when the lifespan ends.
        embedded: whether the app is mounted in another app. If so, write routes always require a token.
        meter: the request counters for this process, if it is one of several workers.
        tracer_provider: an OpenTelemetry tracer provider, which records a span for each request.

    Raises:
        InvalidSettings, RepositoryUnavailable, UnusablePlugin, MissingExtra: when the lifespan starts.
    """
    state = ServiceState(embedded)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as resources:
            opened = application or resources.enter_context(Application(settings or read_settings()))
            await run_in_threadpool(_open, opened)
            counting = meter or Meter.of(SharedCounters.of(1))
            tracing = Tracing(tracer_provider) if tracer_provider else None
            observer = Observer.of(ROUTES, counting, opened.settings.access_log, tracing)
            # housepredict's own server enforces deadlines without a timer for each request.
            body_timeout = opened.settings.client_timeout if embedded else None
            estimator = _estimator(opened, counting.lane("plain"), body_timeout)
            explaining = _estimator(opened, counting.lane("explained"), body_timeout, explains=True)
            counting.watch(lambda: estimator.waiting() + explaining.waiting(), lambda: _generation(opened))
            state.running = RunningService(opened, observer, estimator, explaining)
            follower = opened.follower(counting.publish)
            follower.start()
            pruning = asyncio.create_task(prune_daily(opened))
            try:
                yield
            finally:
                pruning.cancel()
                state.running = None
                for resource in (follower, estimator, explaining):
                    await run_in_threadpool(resource.close)

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        exception_handlers={HTTPException: answer},
        # Starlette's handler for unexpected errors raises them again, so the server would log them twice.
        middleware=[
            Middleware(ObserveRequests),
            Middleware(Cors),
            Middleware(ExceptionMiddleware, handlers={Exception: answer}),
        ],
    )
    app.router.redirect_slashes = False
    app.state.service = state
    return app


def _estimator(
    application: Application, lane: BatchMeter, body_timeout: float | None, *, explains: bool = False
) -> Estimator:
    """Create an estimator that counts its batches in `lane`.

    Requests for explanations use a separate estimator (with `explains`), so that other requests don't wait for them.
    """
    settings = application.settings
    predict = evolve(application.predict, start_timer=lane.time_commit)
    return Estimator(
        application.live_model,
        predict,
        settings.max_body,
        settings.max_batch,
        settings.max_waiting,
        body_timeout,
        lane,
        # A plug-in's predictor may be slow, and event loops on Windows don't support add_reader.
        may_use_loop=settings.predictor is None and sys.platform != "win32",
        explain=evolve(application.explain, predict=predict) if explains else None,
    )


async def prune_daily(application: Application) -> None:
    """Prune predictions older than the setting `keep` (in days) now and every day. After an error, retry in an hour.

    Every worker process does this, because pruning twice does no harm.
    """
    keep = application.settings.keep
    while keep is not None:
        pause = _DAY_S
        try:
            removed = await run_in_threadpool(application.records.prune, timedelta(days=keep))
        except HousepredictError as error:
            _log.warning("predictions older than %s days could not be pruned: %s", keep, error)
            pause = _HOUR_S
        else:
            if removed.predictions:
                _log.info("pruned predictions older than %s days: %s", keep, removed.predictions)
        await asyncio.sleep(pause)


def _generation(application: Application) -> int:
    """Return the generation number of the promoted version (see Pointer), or 0 if unknown or for the demo model."""
    serving = application.live_model.serving
    return (serving.generation or 0) if serving else 0


def _open(application: Application) -> None:
    """Open resources now, so that the first requests don't have to wait for them."""
    _ = application.records, application.predict_once
    try:
        version = application.live_model.current().version
    except HousepredictError as error:
        _log.warning("not ready: %s", error)
    else:
        if version.source.synthetic:
            _log.warning("model version %s: %s", version.name, DEMONSTRATION.message)
