"""The images, built once for all tests. Tests are skipped, with the reason, if images cannot be built."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import BASE, TARGETS, build_image, docker, no_base_image_reason, no_engine_reason


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """The image names by target."""
    if why := no_engine_reason():
        pytest.skip(f"NO IMAGES: containers were not tested: {why}")
    if why := no_base_image_reason():
        pytest.skip(f"NO IMAGES: containers were not tested: {BASE} is not here and cannot be pulled: {why}")
    return {target: build_image(target) for target in TARGETS}


@pytest.fixture
def volume(images: dict[str, str]) -> Iterator[str]:
    """A Docker volume for one test."""
    name = docker("volume", "create").strip()
    yield name
    docker("volume", "rm", "--force", name)
