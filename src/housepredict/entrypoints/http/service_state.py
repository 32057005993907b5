"""The state of an app, and of its service while the app's lifespan runs."""

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
    """The state that the requests of a running app share."""

    application: Application
    observer: Observer
    estimator: Estimator
    explaining_estimator: Estimator
    reviewing: Lock = field(factory=Lock)
    """Allows one review of drift or accuracy at a time, which leaves CPU time to estimates and threads to others."""
    registry: CollectorRegistry | None = None
    """The metrics, created by the first request for them."""
    home_page: tuple[ModelVersion | None, str] | None = None
    """The last rendered home page, and the version that it is for."""


@define(eq=False)
class ServiceState:
    """The state of an app: whether it is `embedded` in another, and what is `running` (None outside its lifespan)."""

    embedded: bool
    stopping: bool = False
    running: RunningService | None = None


def state_of(app: Starlette) -> ServiceState:
    """Return the state of an app."""
    state: ServiceState = app.state.service
    return state


def running_service(app: Starlette) -> RunningService:
    """Return the state that the requests of an app share. Raises NotStarted outside of its lifespan."""
    running = state_of(app).running
    if running is None:
        raise NotStarted
    return running
