"""The service and its database under compose: guarantees hold when either of them is killed."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from attrs import frozen

from tests.containers import docker
from tests.integration.load import Load, caught_up, eventually
from tests.integration.services import LAB_HOUSE, LAB_PRICE
from tests.postgres_servers import free_port

# Overrides: secrets of the test, prebuilt images, another port, and a health check each second.
OVERRIDE = """\
services:
  migrations: {image: "IMAGE"}
  housepredict: {image: "IMAGE", healthcheck: {interval: 1s}}
secrets:
  administrator_password: {file: FOLDER/administrator_password}
  database_password: {file: FOLDER/database_password}
  token: {file: FOLDER/token}
"""


@frozen
class Composed:
    """A running compose project."""

    override: Path
    project: str
    port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def compose(self, *arguments: str) -> str:
        files = ("--file", "container/compose.yaml", "--file", str(self.override))
        return docker("compose", "--project-name", self.project, *files, *arguments, HOUSEPREDICT_PORT=str(self.port))

    def up(self) -> None:
        self.compose("up", "--wait", "--no-build", "--quiet-pull")

    def stored(self) -> list[tuple[str, int]]:
        """Return ids and sizes of all stored predictions."""
        query = "SELECT json_agg(json_build_array(id, features->'size')) FROM predictions"
        psql = ("psql", "--username=postgres", "--dbname=housepredict", "--no-align", "--tuples-only")
        rows = json.loads(self.compose("exec", "-T", "postgres", *psql, f"--command={query}"))
        return [(id_, size) for id_, size in rows]


@pytest.fixture(scope="module")
def composed(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    if subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode:
        pytest.skip("NO COMPOSE: the plugin of the docker client is not there")
    folder = tmp_path_factory.mktemp("compose")
    token = secrets.token_urlsafe()
    for name in ("administrator_password", "database_password", "token"):
        (folder / name).write_text(token if name == "token" else secrets.token_urlsafe())
    override = folder / "override.yaml"
    override.write_text(OVERRIDE.replace("IMAGE", images["service"]).replace("FOLDER", str(folder)))
    made = Composed(override, f"housepredict-test-{uuid4().hex[:8]}", free_port(), token)
    try:
        made.up()
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "5")
        shutil.rmtree(folder)


def test_lab_requests_are_answered_and_stored(composed: Composed) -> None:
    assert httpx2.get(f"{composed.url}/health").json()["status"] == "healthy"
    prediction = httpx2.post(f"{composed.url}/predict", json=LAB_HOUSE).json()
    assert (prediction["prediction"], prediction["model_version"]) == (LAB_PRICE, "demonstration")
    assert httpx2.get(f"{composed.url}/predictions").json()["predictions"][0]["id"] == prediction["id"]
    eventually(lambda: prediction["id"] in dict(composed.stored()))


def test_training_needs_token_and_model_survives_restart(composed: Composed) -> None:
    assert httpx2.post(f"{composed.url}/train").status_code == 401
    bearer = {"Authorization": f"Bearer {composed.token}"}
    trained = httpx2.post(f"{composed.url}/train", headers=bearer, timeout=600).json()
    assert (trained["message"], trained["promoted"]) == ("Model retrained successfully", True)
    prediction = httpx2.post(f"{composed.url}/predict", json=LAB_HOUSE).json()
    assert prediction["model_version"] == trained["model_version"]
    composed.compose("kill", "housepredict")
    composed.up()
    assert httpx2.get(f"{composed.url}/predictions").json()["predictions"][0]["id"] == prediction["id"]
    again = httpx2.post(f"{composed.url}/predict", json=LAB_HOUSE).json()
    assert (again["model_version"], again["prediction"]) == (prediction["model_version"], prediction["prediction"])


def test_predictions_survive_database_kill_under_load(composed: Composed) -> None:
    before = composed.stored()
    load = Load()
    with load.on(composed):
        load.wait_for(200)
        composed.compose("kill", "postgres")
        load.wait_for(200)
        composed.compose("start", "postgres")
        load.wait_for(200)
    assert set(load.statuses) == {200}
    assert not load.unanswered
    caught_up(composed)
    load.compare_with([row for row in composed.stored() if row not in before])


def test_containers_have_no_capabilities_and_read_only_root(composed: Composed) -> None:
    """This includes PostgreSQL, whose image starts as root by default."""
    for service in ("postgres", "housepredict"):
        status = composed.compose("exec", "-T", service, "cat", "/proc/1/status")
        found = dict(line.split(":\t", 1) for line in status.splitlines())
        assert (int(found["CapEff"], 16), int(found["CapBnd"], 16), found["NoNewPrivs"]) == (0, 0, "1")
        assert found["Uid"].split()[0] not in ("", "0")
        container = composed.compose("ps", "--quiet", service).strip()
        host_config = json.loads(docker("inspect", container))[0]["HostConfig"]
        assert host_config["ReadonlyRootfs"]
        assert host_config["Memory"] == 512 * 1024 * 1024
        published = [each["HostIp"] for ports in (host_config["PortBindings"] or {}).values() for each in ports]
        assert published == (["127.0.0.1"] if service == "housepredict" else [])


def test_migrations_run_before_service_and_are_repeatable(composed: Composed) -> None:
    assert "up to date" in composed.compose("run", "--rm", "-T", "migrations")
