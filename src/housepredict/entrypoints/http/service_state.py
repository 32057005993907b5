"""The state of an app, and of the service that runs during the app's lifespan."""

from __future__ import annotations

from asyncio import Lock
from typing import TYPE_CHECKING

from attrs import define, field
from starlette.applications import Starlette

from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.batching import Estimator
from housepredict.entrypoints.http.observer import Observer
from housepredict.entrypoints.http.problems import NotStarted

if TYPE_CHECKING:
    from prometheus_client.registry import CollectorRegistry


@define(eq=False)
class RunningService:
    """The state that all requests to a running app share."""

    application: Application
    observer: Observer
    estimator: Estimator
    explaining_estimator: Estimator
    reviewing: Lock = field(factory=Lock)
    """Held while drift or accuracy is measured. One measurement at a time leaves CPU time for other requests."""
    registry: CollectorRegistry | None = None
    """The metrics registry, created by the first request for metrics."""
    home_page: tuple[ModelVersion | None, str] | None = None
    """The model version that the home page was last rendered for, and the HTML."""


@define(eq=False)
class ServiceState:
    """The state of an app.

    Attributes:
        embedded: whether the app is mounted in another app.
        stopping: whether the server is draining.
        running: the state of the running service, or None outside the app's lifespan.
    """

    embedded: bool
    stopping: bool = False
    running: RunningService | None = None


def state_of(app: Starlette) -> ServiceState:
    """Return the state of an app."""
    state: ServiceState = app.state.service
    return state


def running_service(app: Starlette) -> RunningService:
    """Return the state that all requests to an app share. Raise NotStarted outside the app's lifespan."""
    running = state_of(app).running
    if running is None:
        raise NotStarted
    return running
