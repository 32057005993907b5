"""Pytest fixtures for programs that use housepredict, registered by an entry point.

To use a different model, clock or settings, define a fixture with the same name in a conftest.py or a test module. The
plug-in imports housepredict only when a test requests one of its fixtures.
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

# makes pytest explain failed assertions in the contract suites in detail
pytest.register_assert_rewrite("housepredict.testing")


@pytest.fixture
def housepredict_model() -> Predictor:
    """Return the model to put in service. It estimates 100 · size + 5,000 · bedrooms - 1,000 · age."""
    from housepredict.testing.doubles import FixedModel

    return FixedModel()


@pytest.fixture
def housepredict_clock() -> FrozenClock:
    """Return a clock that is frozen at noon UTC on June 1, 2025. Only the test can advance it, by calling `move`."""
    from housepredict.testing.doubles import FrozenClock

    return FrozenClock()


@pytest.fixture
def housepredict_settings() -> Mapping[str, Any]:
    """Return the settings that differ from their defaults, by field name of `Settings`.

    There are none unless you override this fixture.
    """
    return {}


@pytest.fixture
def housepredict_application(
    housepredict_model: Predictor, housepredict_clock: FrozenClock, housepredict_settings: Mapping[str, Any]
) -> Iterator[Application]:
    """Yield an in-memory application that uses the model, clock and settings from the other fixtures."""
    from housepredict.entrypoints.in_memory import in_memory

    with in_memory(housepredict_model, housepredict_clock, **housepredict_settings) as application:
        yield application


@pytest.fixture
def housepredict_prices(housepredict_application: Application) -> Prices:
    """Return the object that `housepredict.open()` would return, with the application from these fixtures."""
    from housepredict.entrypoints.python import Prices

    return Prices(housepredict_application)


@pytest.fixture
def housepredict_app(housepredict_application: Application) -> Starlette:
    """Return the ASGI app for mounting in another app. The outer app must run this app's lifespan."""
    from housepredict.entrypoints.http.app import asgi_app

    return asgi_app(application=housepredict_application)


@pytest.fixture
def housepredict_client(housepredict_app: Starlette) -> Iterator[TestClient]:
    """Yield a Starlette test client for the ASGI app, and run the app's lifespan."""
    from starlette.testclient import TestClient

    with TestClient(housepredict_app) as client:
        yield client


@pytest.fixture
def housepredict_server(housepredict_application: Application) -> Iterator[str]:
    """Yield the URL of the HTTP service, which runs in a thread of this process."""
    from housepredict.entrypoints.http.server.background_server import serving

    with serving(housepredict_application) as url:
        yield url
