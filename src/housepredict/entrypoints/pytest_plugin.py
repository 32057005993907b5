"""Fixtures for tests of programs that use housepredict; pytest finds them by an entry point.

The plug-in alone imports nothing: each fixture loads what it needs when a test asks for it. To have another model,
clock or settings, define a fixture of the same name in a conftest.py or a test module.
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

# the contract suites' assertions then explain themselves, as those of tests do
pytest.register_assert_rewrite("housepredict.testing")


@pytest.fixture
def housepredict_model() -> Predictor:
    """The model in service: 100 · size + 5,000 · bedrooms - 1,000 · age."""
    from housepredict.testing.doubles import FixedModel

    return FixedModel()


@pytest.fixture
def housepredict_clock() -> FrozenClock:
    """The clock, at noon of 1 June 2025, UTC: `move` lets time pass."""
    from housepredict.testing.doubles import FrozenClock

    return FrozenClock()


@pytest.fixture
def housepredict_settings() -> Mapping[str, Any]:
    """Settings, by the names of the fields of `Settings`: all have their defaults."""
    return {}


@pytest.fixture
def housepredict_application(
    housepredict_model: Predictor, housepredict_clock: FrozenClock, housepredict_settings: Mapping[str, Any]
) -> Iterator[Application]:
    """Everything wired, in memory alone, with that model, clock and settings."""
    from housepredict.entrypoints.in_memory import in_memory

    with in_memory(housepredict_model, housepredict_clock, **housepredict_settings) as application:
        yield application


@pytest.fixture
def housepredict_prices(housepredict_application: Application) -> Prices:
    """The Python API, as `housepredict.open()` gives it."""
    from housepredict.entrypoints.python import Prices

    return Prices(housepredict_application)


@pytest.fixture
def housepredict_app(housepredict_application: Application) -> Starlette:
    """The ASGI app, to mount in yours; its lifespan is yours to enter."""
    from housepredict.entrypoints.http.app import asgi_app

    return asgi_app(application=housepredict_application)


@pytest.fixture
def housepredict_client(housepredict_app: Starlette) -> Iterator[TestClient]:
    """Starlette's test client of the app, which has been started."""
    from starlette.testclient import TestClient

    with TestClient(housepredict_app) as client:
        yield client


@pytest.fixture
def housepredict_server(housepredict_application: Application) -> Iterator[str]:
    """The URL of a real service, in a thread of this process."""
    from housepredict.entrypoints.http.server.background_server import serving

    with serving(housepredict_application) as url:
        yield url
