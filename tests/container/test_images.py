"""Both images as in production: unprivileged, read-only except a volume, and with little memory."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.container.king_county import boosted_version
from tests.containers import TARGETS, TOKEN, ContainerService, docker, run_confined, store_in_volume
from tests.integration.load import eventually
from tests.integration.services import LAB_HOUSE, LAB_PRICE
from tests.postgres_servers import IMAGE

pytestmark = pytest.mark.usefixtures("images")
BEARER = {"Authorization": f"Bearer {TOKEN}"}
LARGEST = {"service": 390, "serving": 270}  # MB


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=TARGETS)
def service(request: pytest.FixtureRequest, images: dict[str, str]) -> Iterator[ContainerService]:
    """The service of either image."""
    with run_confined(request.param) as service:
        yield service


def check_lab_requests(url: str) -> None:
    assert httpx2.get(url).json()["title"]
    assert httpx2.get(f"{url}/health").json() | {"model_version": ""} == {
        "status": "healthy",
        "model_loaded": True,
        "model_version": "",
    }
    prediction = httpx2.post(f"{url}/predict", json=LAB_HOUSE).json()
    assert (prediction["prediction"], prediction["input"]) == (LAB_PRICE, LAB_HOUSE)
    missing = httpx2.post(f"{url}/predict", json={"size": 2500, "bedrooms": 3})
    assert (missing.status_code, missing.json()["error"]) == (400, "Missing field: age")
    assert httpx2.get(f"{url}/predictions").json()["predictions"][0]["id"] == prediction["id"]
    assert "contributions" in httpx2.post(f"{url}/predict?explain=true", json=LAB_HOUSE).json()["explanation"]


def test_lab_requests_are_answered(service: ContainerService) -> None:
    check_lab_requests(service.url)


def test_service_is_unprivileged_and_writes_only_data(service: ContainerService) -> None:
    assert service.run("import os; print(os.getuid(), os.getgid(), os.getgroups())") == (0, "10001 10001 [10001]\n")
    status = "print([line for line in open('/proc/1/status') if line.startswith(('CapEff', 'NoNewPrivs'))])"
    assert service.run(status) == (0, "['CapEff:\\t0000000000000000\\n', 'NoNewPrivs:\\t1\\n']\n")
    for place in ("/opt/housepredict/lib", "/usr/local", "/etc"):
        assert service.run(f"import tempfile; tempfile.TemporaryFile(dir={place!r})")[0] != 0
    assert service.run("import tempfile; tempfile.TemporaryFile(dir='/var/lib/housepredict')") == (0, "")


def test_process_1_is_the_service(service: ContainerService) -> None:
    code, output = service.run("print(open('/proc/1/cmdline').read().replace('\\0', ' '))")
    assert code == 0
    assert output.rstrip().endswith("housepredict serve")
    assert "sh" not in output.split()[0].rpartition("/")[2]


def test_parquet_is_rejected_with_advice(service: ContainerService) -> None:
    headers = BEARER | {"Content-Type": "application/vnd.apache.parquet"}
    answer = httpx2.post(f"{service.url}/train", content=b"PAR1", headers=headers)
    assert answer.status_code == 415
    assert "Send CSV as text/csv" in answer.json()["detail"]


def test_image_size_is_within_limit(target: str, images: dict[str, str]) -> None:
    assert int(docker("image", "inspect", "--format", "{{.Size}}", images[target])) <= LARGEST[target] * 10**6


def test_serving_image_rejects_training_with_advice() -> None:
    with run_confined("serving") as service:
        answer = httpx2.post(f"{service.url}/train", headers=BEARER, timeout=600)
        assert answer.status_code == 501
        assert "a container image that includes it" in answer.json()["detail"]
        assert httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code == 200


def test_model_and_predictions_survive_container(volume: str) -> None:
    with run_confined("service", volume) as service:
        assert httpx2.post(f"{service.url}/train").status_code == 401
        trained = httpx2.post(f"{service.url}/train", headers=BEARER, timeout=600).json()
        assert (trained["message"], trained["promoted"]) == ("Model retrained successfully", True)
        prediction = httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).json()
        assert service.stop() == 0
    for other in ("service", "serving"):  # The serving image serves models trained by the full image.
        with run_confined(other, volume) as service:
            assert httpx2.get(f"{service.url}/predictions").json()["predictions"][0]["id"] == prediction["id"]
            again = httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).json()
            assert (again["model_version"], again["prediction"]) == (trained["model_version"], prediction["prediction"])
            prediction = again


def test_training_beyond_memory_is_killed_without_the_service() -> None:
    rows = (
        f"{100_000 + 7919 * row % 899_999},{500 + 31 * row % 4999},{row % 9},{row % 83}" for row in range(1_000_000)
    )
    content = gzip.compress("\n".join(["price,size,rooms,age", *rows]).encode())
    with run_confined("service") as service:
        headers = BEARER | {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
        answer = httpx2.post(f"{service.url}/train", content=content, headers=headers, timeout=600)
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:housepredict:problem:training-failed")
        assert "killed by SIGKILL" in answer.json()["detail"]
        training = httpx2.get(f"{service.url}/trainings", headers=BEARER).json()["trainings"][0]
        assert (training["state"], training["error"]) == ("failed", answer.json()["detail"])
        assert httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code == 200


def test_boosted_trees_are_explained_in_serving_memory(volume: str) -> None:
    """500 trees, as `--effort low` makes for these sales."""
    made = boosted_version(500)
    store_in_volume(volume, made.version, made.artifact)
    with run_confined("serving", volume) as service:
        for _ in range(3):
            answer = httpx2.post(f"{service.url}/predict?explain=true", json=made.houses[:10], timeout=600)
            assert answer.status_code == 200, answer.text
            predictions = answer.json()["predictions"]
            assert [each["prediction"] for each in predictions] == pytest.approx(made.prices[:10])
            assert all(each["explanation"]["contributions"] for each in predictions)
        assert len(httpx2.post(f"{service.url}/predict", json=made.houses).json()["predictions"]) == len(made.houses)


@pytest.fixture(scope="module")
def network() -> Iterator[Any]:
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.network import Network

    with Network() as network:
        yield network


@pytest.fixture(scope="module")
def database(network: Any) -> Iterator[str]:
    """The URL in this network of a PostgreSQL that may still be starting."""
    from testcontainers.core.container import DockerContainer

    made = DockerContainer(IMAGE).with_env("POSTGRES_PASSWORD", "secret").with_network(network)
    with made.with_network_aliases("database"):
        yield "postgresql://postgres:secret@database/postgres"


def test_service_with_database_fits_memory_and_obeys_sigterm(target: str, network: Any, database: str) -> None:
    with run_confined(target, network=network, HOUSEPREDICT_DATABASE_URL=database) as service:
        assert eventually(lambda: is_connected(service))
        check_lab_requests(service.url)
        assert service.stop() == 0


def is_connected(service: ContainerService) -> bool:
    """Return whether the service has reached its database, so that it lists predictions from there."""
    answer = httpx2.get(f"{service.url}/health/ready")
    return answer.status_code == 200 and "spool" not in httpx2.get(f"{service.url}/predictions").json()
