"""Pytest fixtures for programs that use housepredict, registered by an entry point.

To use another model, clock or settings, define a fixture with the same name in a conftest.py or a test module. The
plug-in imports housepredict only when a test requests a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from housepredict.domain.ports import Predictor
    from housepredict.entrypoints.composition import Application
    from housepredict.entrypoints.python import Prices
    from housepredict.testing.doubles import FrozenClock

# so that failed assertions in the contract suites are explained in detail
pytest.register_assert_rewrite("housepredict.testing")


@pytest.fixture
def housepredict_model() -> Predictor:
    """Return the model in service: 100 · size + 5,000 · bedrooms - 1,000 · age."""
    from housepredict.testing.doubles import FixedModel

    return FixedModel()


@pytest.fixture
def housepredict_clock() -> FrozenClock:
    """Return a clock that stands still at noon UTC on June 1, 2025, until the test calls `move`."""
    from housepredict.testing.doubles import FrozenClock

    return FrozenClock()


@pytest.fixture
def housepredict_settings() -> Mapping[str, Any]:
    """Return settings by the names of the fields of `Settings`; empty, so that all have their defaults."""
    return {}


@pytest.fixture
def housepredict_application(
    housepredict_model: Predictor, housepredict_clock: FrozenClock, housepredict_settings: Mapping[str, Any]
) -> Iterator[Application]:
    """Yield an application in memory, with the model, clock and settings of these fixtures."""
    from housepredict.entrypoints.in_memory import in_memory

    with in_memory(housepredict_model, housepredict_clock, **housepredict_settings) as application:
        yield application


@pytest.fixture
def housepredict_prices(housepredict_application: Application) -> Prices:
    """Return the Python API, as `housepredict.open()` does."""
    from housepredict.entrypoints.python import Prices

    return Prices(housepredict_application)


@pytest.fixture
def housepredict_app(housepredict_application: Application) -> Starlette:
    """Return the ASGI app, to mount in another app, which has to run its lifespan."""
    from housepredict.entrypoints.http.app import asgi_app

    return asgi_app(application=housepredict_application)


@pytest.fixture
def housepredict_client(housepredict_app: Starlette) -> Iterator[TestClient]:
    """Yield Starlette's test client for the app, with its lifespan running."""
    from starlette.testclient import TestClient

    with TestClient(housepredict_app) as client:
        yield client


@pytest.fixture
def housepredict_server(housepredict_application: Application) -> Iterator[str]:
    """Yield the URL of an HTTP service that runs in a thread of this process."""
    from housepredict.entrypoints.http.server.background_server import serving

    with serving(housepredict_application) as url:
        yield url
