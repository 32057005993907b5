"""The ASGI app: the routes, their errors, and a lifespan that opens and closes what they use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware

from housepredict.domain.errors import HousepredictError
from housepredict.domain.usecases import DEMONSTRATION
from housepredict.entrypoints.bootstrap import Application
from housepredict.entrypoints.http.predict import Estimator
from housepredict.entrypoints.http.problems import answer
from housepredict.entrypoints.http.retention import prune_daily
from housepredict.entrypoints.http.routes import ROUTES
from housepredict.entrypoints.settings import Settings, read_settings

_log = logging.getLogger(__name__)


def asgi_app(
    settings: Settings | None = None, *, application: Application | None = None, embedded: bool = True
) -> Starlette:
    """The service as an ASGI app, to serve by itself or to mount inside another.

    Building it does no I/O. Its lifespan opens models and predictions and closes them; Starlette and FastAPI do not run
    the lifespan of an app that is mounted, so theirs has to enter it:

        prices = housepredict.asgi_app()

        @asynccontextmanager
        async def lifespan(app):
            async with prices.router.lifespan_context(prices):
                yield

        app = FastAPI(lifespan=lifespan)
        app.mount("/prices", prices)

    `settings` are read from the environment if they are not given; an `application` that is given stays open when the
    lifespan ends. An `embedded` app cannot know who reaches it, and retrains or records sales for a token alone. The
    lifespan raises InvalidSettings, RepositoryUnavailable or MissingExtra.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as resources:
            opened = application or resources.enter_context(Application(settings or read_settings()))
            await run_in_threadpool(_open, opened)
            settings_ = opened.settings
            # one for each use case: who asks for no explanation does not wait for those of others
            estimators = [
                Estimator(
                    opened.live_model,
                    estimate,
                    settings_.max_body,
                    settings_.max_batch,
                    settings_.max_waiting,
                    # a server of ours has deadlines of its own, and a timer for each request takes some microseconds
                    settings_.client_timeout if embedded else None,
                )
                for estimate in (opened.predict, opened.explain)
            ]
            app.state.application, app.state.registry = opened, None
            app.state.estimator, app.state.explaining_estimator = estimators
            app.state.reviewing = asyncio.Lock()
            follower = opened.follower()
            follower.start()
            pruning = asyncio.create_task(prune_daily(opened))
            try:
                yield
            finally:
                pruning.cancel()
                app.state.application = app.state.estimator = app.state.explaining_estimator = None
                await run_in_threadpool(follower.close)
                for estimator in estimators:
                    await run_in_threadpool(estimator.close)

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        exception_handlers={HTTPException: answer},
        # Starlette's own handler of unexpected errors raises them once more, for the server to log a second time
        middleware=[Middleware(ExceptionMiddleware, handlers={Exception: answer})],
    )
    app.router.redirect_slashes = False
    app.state.application = app.state.estimator = app.state.explaining_estimator = None
    app.state.embedded = embedded
    app.state.stopping = False
    return app


def _open(application: Application) -> None:
    """Do now what the first request would have to wait for."""
    application.predict.recent(1)
    _ = application.record_sales  # whose file is opened with it
    try:
        version = application.live_model.current().version
    except HousepredictError as error:
        _log.warning("not ready: %s", error)
    else:
        if version.source.synthetic:
            _log.warning("model version %s: %s", version.name, DEMONSTRATION.message)
