"""The images under test: built by the local Docker engine, and run with production restrictions."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from attrs import frozen

from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.domain.models import Artifact, ModelVersion
from tests.integration.load import eventually
from tests.postgres_servers import engine_answers, free_port

if TYPE_CHECKING:
    from docker.models.containers import Container  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
BASE = "python:3.11-slim-bookworm"
TARGETS = {"serving": "128m", "service": "512m"}
"""The targets of the Dockerfile, and the memory limit of each."""

TOKEN = "a-token-of-the-tests"


def no_engine_reason() -> str | None:
    """Return why no image can be built here, or None. Does not check the base image."""
    if shutil.which("docker") is None:
        return "there is no docker client"
    return None if engine_answers() else "no Docker engine answers"


def docker(*arguments: str, **variables: str) -> str:
    """Run a command of the Docker client. Returns its output; a failure raises an error with its log."""
    done = subprocess.run(
        ["docker", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | variables,
        timeout=900,
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def no_base_image_reason() -> str | None:
    """Pull the base image if it is missing. Returns the error if that fails, or None."""
    done = subprocess.run(["docker", "image", "inspect", BASE], check=False, capture_output=True, text=True)
    if done.returncode:
        done = subprocess.run(
            ["docker", "pull", "--quiet", BASE], check=False, capture_output=True, text=True, timeout=600
        )
    return done.stderr.strip() if done.returncode else None


def build_image(target: str) -> str:
    """Build an image of this checkout. Returns its name."""
    name = f"housepredict-test:{target}"
    docker("build", "--quiet", "--file", "container/Dockerfile", "--target", target, "--tag", name, ".")
    return name


@frozen
class ContainerService:
    """A service in a container, with a local URL."""

    container: Container
    url: str

    def healthy(self) -> None:
        """Wait until the health check succeeds."""
        eventually(self._is_healthy)

    def run(self, code: str) -> tuple[int, str]:
        """Run Python code in the container. Returns exit code and output."""
        ended = self.container.exec_run(["python", "-c", code])
        return ended.exit_code, ended.output.decode()

    def stop(self) -> int:
        """Stop the container. Returns its exit code: 137 if it had to be killed after 5 s."""
        self.container.stop(timeout=5)
        code: int = self.container.wait()["StatusCode"]
        return code

    def _is_healthy(self) -> bool:
        self.container.reload()
        state = self.container.attrs["State"]
        assert state["Running"], self.container.logs().decode()
        is_healthy: bool = state["Health"]["Status"] == "healthy"
        return is_healthy


def store_in_volume(volume: str, version: ModelVersion, artifact: Artifact) -> None:
    """Add a version to the data folder in a volume, and promote it."""
    with TemporaryDirectory() as folder:
        models = DirectoryModels(Path(folder, "models"))
        models.add(version, artifact)
        models.promote(version.name)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, ".")
    # Unpack as the image's user, who owns the volume.
    mounted = ("--volume", f"{volume}:/var/lib/housepredict", "--entrypoint", "tar", "housepredict-test:serving")
    command = ["docker", "run", "--rm", "--interactive", *mounted, "--extract", "--no-same-owner"]
    subprocess.run(command, input=packed.getvalue(), check=True, timeout=600)


@contextmanager
def run_confined(
    target: str, volume: str | None = None, network: Any = None, **variables: str
) -> Iterator[ContainerService]:
    """Run the service of an image with minimal privileges. Yields it once it is healthy."""
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # see postgres_servers
    from testcontainers.core.container import DockerContainer

    made = DockerContainer(f"housepredict-test:{target}").with_kwargs(
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=TARGETS[target],
        memswap_limit=TARGETS[target],
        healthcheck={"interval": 1_000_000_000},  # the image's own check, run each second
    )
    for name, value in {"HOUSEPREDICT_DEMO": "1", "HOUSEPREDICT_TOKEN": TOKEN, **variables}.items():
        made = made.with_env(name, value)
    made = made.with_tmpfs_mount("/tmp")
    if volume:
        made = made.with_volume_mapping(volume, "/var/lib/housepredict", "rw")
    if network:
        made = made.with_network(network)
    with made.with_bind_ports(5000, free_port()) as container:
        wrapped = container.get_wrapped_container()
        contained = ContainerService(wrapped, f"http://127.0.0.1:{container.get_exposed_port(5000)}")
        contained.healthy()
        yield contained
        wrapped.reload()
        assert not wrapped.attrs["State"]["OOMKilled"]
        assert "Traceback" not in wrapped.logs().decode()
