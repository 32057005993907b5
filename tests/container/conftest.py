"""The images, built once for all tests of them; skipped, with the reason, where there is no building them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import BASE, TARGETS, build_image, docker, no_base_image_reason, no_engine_reason


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """The names of both images."""
    if why := no_engine_reason():
        pytest.skip(f"NO IMAGES: containers were not tested: {why}")
    if why := no_base_image_reason():
        pytest.skip(f"NO IMAGES: containers were not tested: {BASE} is not here and cannot be pulled: {why}")
    return {target: build_image(target) for target in TARGETS}


@pytest.fixture
def volume(images: dict[str, str]) -> Iterator[str]:
    """A volume of the engine's, for one test."""
    name = docker("volume", "create").strip()
    yield name
    docker("volume", "rm", "--force", name)
