"""The service conforms to its OpenAPI document: schemathesis generates requests and checks all responses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import evolve

from housepredict.adapters.documents import from_json
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.folder.training_log import DirectoryTrainings
from housepredict.adapters.system import SystemClock
from housepredict.domain.models import TrainingSource
from housepredict.domain.training_status import TrainingStatus
from tests.integration.services import Service, environment, running

TOKEN = "an-example-of-a-token"
FOLDER = Path(__file__).parent / "conformance"


def add_two_versions(models: DirectoryModels) -> None:
    """Store the demonstration model twice, with feature bounds within which every house has a price."""
    folder = files("housepredict.adapters.serving.demonstration")
    version = from_json(folder.joinpath("manifest.json").read_bytes())
    features = tuple(evolve(each, maximum=1e6) for each in version.schema.features)
    bounded = evolve(version, schema=evolve(version.schema, features=features), source=TrainingSource("/", "0" * 64))
    for name in ("first", "second"):
        models.add(evolve(bounded, name=name), {each: folder.joinpath(each).read_bytes() for each in version.digests})
        models.promote(name)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Run a service during a training job that never ends, so that every valid training request is a conflict."""
    folder = tmp_path / "service" / "data"
    models = DirectoryModels(folder / "models")
    add_two_versions(models)
    DirectoryTrainings(folder / "models" / "trainings").begin(TrainingStatus(uuid4(), SystemClock().now(), None))
    with models.training(), running(tmp_path / "service", HOUSEPREDICT_TOKEN=TOKEN) as made:
        yield made


def test_responses_conform_to_openapi_document(service: Service, tmp_path: Path) -> None:
    command = ["-m", "schemathesis.cli", "--config-file", str(FOLDER / "schemathesis.toml"), "--no-color", "run"]
    ended = subprocess.run(
        [sys.executable, *command, f"{service.url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(SCHEMATHESIS_HOOKS=str(FOLDER / "hooks.py")),
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
