"""The state of an app: one typed object, and what is in it while the app's lifespan lasts."""

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
    """What the requests of an app share."""

    application: Application
    observer: Observer
    estimator: Estimator
    explaining_estimator: Estimator
    reviewing: Lock = field(factory=Lock)
    """Held by a review of drift or accuracy: one at a time leaves estimates room, and other routes their threads."""
    registry: CollectorRegistry | None = None
    """The metrics, since the first request for them."""
    home_page: tuple[ModelVersion | None, str] | None = None
    """The home page that was made last, and its version."""


@define(eq=False)
class ServiceState:
    """The state of an app. `running` is None outside of its lifespan."""

    embedded: bool
    stopping: bool = False
    running: RunningService | None = None


def state_of(app: Starlette) -> ServiceState:
    """The state of an app."""
    state: ServiceState = app.state.service
    return state


def running_service(app: Starlette) -> RunningService:
    """What the requests of an app share. Raises NotStarted outside of its lifespan."""
    running = state_of(app).running
    if running is None:
        raise NotStarted
    return running
