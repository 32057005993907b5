"""Configuration shared by all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

# Registered before the first import, so that pytest explains its assertions, too.
pytest.register_assert_rewrite("housepredict.testing")

from tests.browsers import find_browser  # noqa: E402
from tests.containers import no_engine_reason  # noqa: E402
from tests.postgres_servers import ContainerServer, EmbeddedServer, choose_server  # noqa: E402
from tests.small_disks import SmallFiles, SmallFileSystem, choose_disk  # noqa: E402

settings.register_profile(
    "housepredict",
    deadline=None,  # The duration of an example depends on the machine.
    suppress_health_check=[HealthCheck.too_slow],  # for the same reason
    print_blob=True,
    derandomize="CI" in os.environ,  # In CI, only a change of the code may change the result.
)
settings.load_profile("housepredict")
settings.register_profile("quick", max_examples=10)
# For suites that are expected to fail.
settings.register_profile("first-failure", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True)

POOLS = f"{os.environ.get('PATH', '')}:/usr/sbin"
POSTGRES_SERVER = pytest.StashKey[ContainerServer | EmbeddedServer]()
SMALL_DISK = pytest.StashKey[type[SmallFileSystem | SmallFiles]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[POSTGRES_SERVER] = choose_server(os.environ.get("TEST_POSTGRES"))
    config.stash[SMALL_DISK] = choose_disk()


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [
        f"postgres: {config.stash[POSTGRES_SERVER]}",
        f"full disk: {config.stash[SMALL_DISK].TITLE}",
        f"images: {_images()}",
        f"pool: {shutil.which('pgbouncer', path=POOLS) or 'NO PGBOUNCER, none is tested'}",
        f"browser: {find_browser() or 'NONE, pages are not looked at'}",
    ]


def _images() -> str:
    return f"NONE, containers are not tested: {why}" if (why := no_engine_reason()) else "built by this Docker engine"


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates in logs, since pytest-xdist sends reports between processes in UTF-8."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _encodable(each) for key, each in value.items()}
        case list() | tuple():
            return type(value)(map(_encodable, value))
    return value
