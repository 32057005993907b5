"""Services that share only a database share the model in service."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx2
import psycopg

from tests.integration.load import url
from tests.integration.services import Service, finished, running
from tests.postgres_servers import Server, database

T = TypeVar("T")


def train(folder: Path, price_per_sqft: int, **variables: str) -> str:
    """Train and promote a model in a new directory. Return the version's name."""
    folder.mkdir()
    with (folder / "sales.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["price", "sqft", "rooms"])
        houses = [(500 + row * 37 % 200, row % 8) for row in range(200)]
        rows.writerows([price_per_sqft * sqft + 10_000 * rooms, sqft, rooms] for sqft, rooms in houses)
    options = ["--algorithm", "linear", "--promote", "always", "--data-dir", str(folder / "data")]
    trained = finished("-m", "housepredict", "train", str(folder / "sales.csv"), *options, **variables)
    assert trained.returncode == 0, trained.stderr
    (name,) = {word.strip(".,") for word in trained.stdout.split() if word.startswith("20") and word.count("-") == 2}
    return name


def roll_back(folder: Path, **variables: str) -> None:
    back = finished("-m", "housepredict", "models", "rollback", "--data-dir", str(folder / "data"), **variables)
    assert back.returncode == 0, back.stderr


def price(service: Service) -> tuple[str, float]:
    """Return the version that responds and its estimate."""
    answer = httpx2.post(f"{service.url}/predict", json={"sqft": 600, "rooms": 1}).json()
    return answer["model_version"], answer["prediction"]


def eventually(ask: Callable[[], T | None]) -> T:
    """Poll `ask` until it returns something truthy, and return that."""
    deadline = time.monotonic() + 600
    while not (value := ask()):
        assert time.monotonic() < deadline, "it never was"
    return value


def published(service: Service, line: str) -> bool:
    """Return whether the service's metrics contain a line."""
    return line in httpx2.get(f"{service.url}/metrics").text.splitlines()


def generations(service: Service) -> list[float]:
    """Return the generation that each worker serves."""
    text = httpx2.get(f"{service.url}/metrics").text
    values = re.findall(r'^housepredict_model_generation\{worker="\d+"\} (\S+)$', text, re.MULTILINE)
    return [float(each) for each in values]


def serve_all(service: Service, generation: int) -> bool:
    """Return whether both workers serve the generation."""
    return generations(service) == [generation, generation]


def refusal(service: Service) -> str | None:
    """Return why the promoted version is not in service, or None if it is."""
    model = httpx2.get(f"{service.url}/health/ready").json()["checks"]["model"]
    assert model["ok"]
    return str(model["refused"]) if "refused" in model else None


def price_once_served(service: Service, version: str) -> float:
    """Wait until the service uses the version, and return its estimate."""
    eventually(lambda: httpx2.get(f"{service.url}/health").json()["model_version"] == version)
    answering, value = price(service)
    assert answering == version
    return value


def test_promotion_reaches_all_services_and_survives_outage(tmp_path: Path, stoppable: Server) -> None:
    with database(stoppable.conninfo) as conninfo:
        where = {"HOUSEPREDICT_DATABASE_URL": url(conninfo)}
        first = train(tmp_path / "first", 100, **where)
        with running(tmp_path / "one", **where) as one, running(tmp_path / "two", **where) as two:
            assert price(one) == price(two) == (first, 70_000)
            second = train(tmp_path / "second", 200, **where)
            assert price_once_served(one, second) == price_once_served(two, second) == 130_000
            roll_back(tmp_path, **where)
            assert price_once_served(one, first) == price_once_served(two, first) == 70_000
            stoppable.stop()
            assert price(one) == price(two) == (first, 70_000)
        with running(tmp_path / "one", **where) as again:
            assert price(again) == (first, 70_000)
            assert httpx2.get(f"{again.url}/health/ready").status_code == 200
        stoppable.start()


def test_damaged_version_is_rejected_by_all_services(tmp_path: Path, postgres: str) -> None:
    where = {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
    good = train(tmp_path / "good", 100, **where)
    with (
        running(tmp_path / "one", "--workers", "2", **where) as one,
        running(tmp_path / "two", "--workers", "2", **where) as two,
    ):
        assert generations(one) == generations(two) == [1, 1]
        with psycopg.connect(
            postgres
        ) as connection:  # in one transaction, so that no service sees the undamaged version
            bad = "copy-of-" + good
            connection.execute("INSERT INTO model_versions SELECT %s, manifest FROM model_versions", (bad,))
            connection.execute("INSERT INTO model_files SELECT %s, name, content FROM model_files", (bad,))
            connection.execute("UPDATE model_pointer SET history = %s || history", ([bad],))
        for service in one, two:
            assert "damaged" in str(eventually(partial(refusal, service)))
            eventually(partial(published, service, "housepredict_model_refused 1.0"))
            assert generations(service) == [1, 1]
            assert price(service) == (good, 70_000)
        roll_back(tmp_path, **where)
        for service in one, two:
            eventually(partial(serve_all, service, 2))
            assert refusal(service) is None
            assert published(service, "housepredict_model_refused 0.0")
            assert price(service) == (good, 70_000)


def test_local_versions_are_copied_to_new_database(tmp_path: Path, postgres: str) -> None:
    name = train(tmp_path / "sales", 100)
    where = {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
    with running(tmp_path / "sales", **where) as service, running(tmp_path / "other", **where) as other:
        assert price(service) == price(other) == (name, 70_000)
