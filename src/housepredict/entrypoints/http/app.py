"""The ASGI app: the routes, their errors, and a lifespan that opens and closes what they use."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from attrs import evolve
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from housepredict.domain.errors import HousepredictError
from housepredict.domain.usecases import DEMONSTRATION
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.batching import Estimator
from housepredict.entrypoints.http.observer import Observed, Observer
from housepredict.entrypoints.http.problems import answer
from housepredict.entrypoints.http.request_metrics import Meter, Tally, timed
from housepredict.entrypoints.http.retention import prune_daily
from housepredict.entrypoints.http.routes.route_table import ROUTES
from housepredict.entrypoints.settings import Settings, read_settings
from housepredict.entrypoints.telemetry import Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_METHODS = ("DELETE", "GET", "POST")
_HEADERS = ("Authorization", "Content-Encoding", "Idempotency-Key", "Inference-Header-Content-Length", "Prefer")
_EXPOSED = ("Inference-Header-Content-Length", "Link", "Location", "Preference-Applied", "Retry-After")


class Cors:
    """Starlette's CORS middleware for the origins in the app's state, which are known when its lifespan has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._origins: Sequence[str] = ()
        self._inner: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, with what other origins' pages have to be told."""
        origins: Sequence[str] = scope["app"].state.cors_origins if scope["type"] == "http" else ()
        if origins is not self._origins:
            self._origins = origins
            self._inner = (
                CORSMiddleware(
                    self._app,
                    allow_origins=origins,
                    allow_methods=_METHODS,
                    allow_headers=_HEADERS,
                    expose_headers=_EXPOSED,
                )
                if origins
                else self._app
            )
        await self._inner(scope, receive, send)


_log = logging.getLogger(__name__)


def asgi_app(
    settings: Settings | None = None,
    *,
    application: Application | None = None,
    embedded: bool = True,
    meter: Meter | None = None,
    tracer_provider: TracerProvider | None = None,
) -> Starlette:
    """The service as an ASGI app, to serve by itself or to mount inside another.

    Building it does no I/O. Its lifespan opens models and predictions and closes them; Starlette and FastAPI do not run
    the lifespan of an app that is mounted, so theirs has to be it, or enter it:

        prices = housepredict.asgi_app()

        app = FastAPI(lifespan=prices.router.lifespan_context)
        app.mount("/prices", prices)

        @asynccontextmanager
        async def lifespan(app):
            async with prices.router.lifespan_context(prices):
                yield

    `settings` are read from the environment if they are not given; an `application` that is given stays open when the
    lifespan ends. An `embedded` app cannot know who reaches it, and retrains or records sales for a token alone. A
    `tracer_provider` of OpenTelemetry makes spans of its requests; a `meter` is what one worker of several counts with.
    The lifespan raises InvalidSettings, RepositoryUnavailable, UnusablePlugin or MissingExtra.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as resources:
            opened = application or resources.enter_context(Application(settings or read_settings()))
            await run_in_threadpool(_open, opened)
            settings_ = opened.settings
            counting = meter or Meter.of(Tally.of(1))
            tracing = Tracing(tracer_provider) if tracer_provider else None
            observer = Observer.of(ROUTES, counting, settings_.access_log, tracing)
            # a server of ours has deadlines of its own, and a timer for each request takes some microseconds
            body_timeout = settings_.client_timeout if embedded else None
            estimators = _estimators(opened, counting, body_timeout)
            counting.watch(lambda: sum(each.waiting() for each in estimators), lambda: _generation(opened))
            app.state.cors_origins = settings_.cors_origins
            app.state.application, app.state.observer = opened, observer
            app.state.registry = app.state.home = None
            app.state.estimator, app.state.explaining_estimator = estimators
            app.state.reviewing = asyncio.Lock()
            follower = opened.follower(counting.publish)
            follower.start()
            pruning = asyncio.create_task(prune_daily(opened))
            try:
                yield
            finally:
                pruning.cancel()
                app.state.application = app.state.estimator = app.state.explaining_estimator = None
                app.state.observer = None
                await run_in_threadpool(follower.close)
                for estimator in estimators:
                    await run_in_threadpool(estimator.close)

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        exception_handlers={HTTPException: answer},
        # Starlette's own handler of unexpected errors raises them once more, for the server to log a second time
        middleware=[
            Middleware(Observed),
            Middleware(Cors),
            Middleware(ExceptionMiddleware, handlers={Exception: answer}),
        ],
    )
    app.router.redirect_slashes = False
    app.state.application = app.state.estimator = app.state.explaining_estimator = app.state.observer = None
    app.state.cors_origins = ()
    app.state.embedded = embedded
    app.state.stopping = False
    return app


def _estimators(application: Application, counting: Meter, body_timeout: float | None) -> Sequence[Estimator]:
    """One for each use case: who asks for no explanation does not wait for those of others."""
    made, settings = [], application.settings
    # a predictor of others may wait for whatever it likes, and event loops on Windows watch no descriptors
    in_loop = settings.predictor is None and sys.platform != "win32"
    for name, use_case in (("plain", application.predict), ("explained", application.explain)):
        lane = counting.lane(name)
        predict = evolve(use_case, predictions=timed(application.predictions, lane))
        limits = settings.max_body, settings.max_batch, settings.max_waiting
        made.append(Estimator(application.live_model, predict, *limits, body_timeout, lane, in_loop))
    return made


def _generation(application: Application) -> int:
    """The generation in service; 0 for the demonstration, without a model, or if it is unknown."""
    serving = application.live_model.serving
    return (serving.generation or 0) if serving else 0


def _open(application: Application) -> None:
    """Do now what the first request would have to wait for."""
    _ = application.predict, application.record_sales, application.predict_once  # whose files are opened with them
    try:
        version = application.live_model.current().version
    except HousepredictError as error:
        _log.warning("not ready: %s", error)
    else:
        if version.source.synthetic:
            _log.warning("model version %s: %s", version.name, DEMONSTRATION.message)
