"""The images under test: built by the engine that answers here, and run as they should be run for good."""

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
"""The targets of the Dockerfile, and the memory that each has to do with."""

TOKEN = "a-token-of-the-tests"


def no_engine_reason() -> str | None:
    """Why no image can be built here, or None. A base image that has to be pulled first shows when it is."""
    if shutil.which("docker") is None:
        return "there is no docker client"
    return None if engine_answers() else "no Docker engine answers"


def docker(*arguments: str, **variables: str) -> str:
    """What a command of the client prints; its log is in the error if it fails."""
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
    """Why the base image is not to be had, or None."""
    done = subprocess.run(["docker", "image", "inspect", BASE], check=False, capture_output=True, text=True)
    if done.returncode:
        done = subprocess.run(
            ["docker", "pull", "--quiet", BASE], check=False, capture_output=True, text=True, timeout=600
        )
    return done.stderr.strip() if done.returncode else None


def build_image(target: str) -> str:
    """The name of the image that was built of this checkout."""
    name = f"housepredict-test:{target}"
    docker("build", "--quiet", "--file", "container/Dockerfile", "--target", target, "--tag", name, ".")
    return name


@frozen
class ContainerService:
    """A service in a container, with an address on this machine."""

    container: Container
    url: str

    def healthy(self) -> None:
        """Return when its health check says so."""
        eventually(self._is_healthy)

    def run(self, code: str) -> tuple[int, str]:
        """The exit code and the output of Python in it."""
        ended = self.container.exec_run(["python", "-c", code])
        return ended.exit_code, ended.output.decode()

    def stop(self) -> int:
        """The exit code, which is 137 for one that had to be killed after 5 s."""
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
    """Make a version the promoted one of the data folder in a volume."""
    with TemporaryDirectory() as folder:
        models = DirectoryModels(Path(folder, "models"))
        models.add(version, artifact)
        models.promote(version.name)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, ".")
    # as the image's own user, whom the volume is given to
    mounted = ("--volume", f"{volume}:/var/lib/housepredict", "--entrypoint", "tar", "housepredict-test:serving")
    command = ["docker", "run", "--rm", "--interactive", *mounted, "--extract", "--no-same-owner"]
    subprocess.run(command, input=packed.getvalue(), check=True, timeout=600)


@contextmanager
def run_confined(
    target: str, volume: str | None = None, network: Any = None, **variables: str
) -> Iterator[ContainerService]:
    """An image's service, healthy, with nothing but what it needs."""
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # see postgres_servers
    from testcontainers.core.container import DockerContainer

    made = DockerContainer(f"housepredict-test:{target}").with_kwargs(
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=TARGETS[target],
        memswap_limit=TARGETS[target],
        healthcheck={"interval": 1_000_000_000},  # the image's own check, each second
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
