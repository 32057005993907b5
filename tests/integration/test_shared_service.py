"""Services that share a database, and nothing else, share the model in service."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import httpx2

from tests.integration.load import url
from tests.integration.services import Service, finished, running
from tests.postgres_servers import Server, database


def train(folder: Path, a_square_foot: int, **variables: str) -> str:
    """Train and promote a model in a folder of its own: the name of the version."""
    folder.mkdir()
    with (folder / "sales.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["price", "sqft", "rooms"])
        houses = [(500 + row * 37 % 200, row % 8) for row in range(200)]
        rows.writerows([a_square_foot * sqft + 10_000 * rooms, sqft, rooms] for sqft, rooms in houses)
    options = ["--algorithm", "linear", "--promote", "always", "--data-dir", str(folder / "data")]
    trained = finished("-m", "housepredict", "train", str(folder / "sales.csv"), *options, **variables)
    assert trained.returncode == 0, trained.stderr
    (name,) = {word.strip(".,") for word in trained.stdout.split() if word.startswith("20") and word.count("-") == 2}
    return name


def price(service: Service) -> tuple[str, float]:
    """The version that answers, and what it says."""
    answer = httpx2.post(f"{service.url}/predict", json={"sqft": 600, "rooms": 1}).json()
    return answer["model_version"], answer["prediction"]


def taken_up(service: Service, version: str) -> float:
    """The price that a service says once the version answers there."""
    deadline = time.monotonic() + 60
    while httpx2.get(f"{service.url}/health").json().get("model_version") != version:
        assert time.monotonic() < deadline, f"{version} was not taken up"
    answering, said = price(service)
    assert answering == version
    return said


def test_a_version_that_one_promotes_is_taken_up_by_all_and_outlives_the_database(
    tmp_path: Path, stoppable: Server
) -> None:
    with database(stoppable.conninfo) as conninfo:
        where = {"HOUSEPREDICT_DATABASE_URL": url(conninfo)}
        first = train(tmp_path / "first", 100, **where)
        with running(tmp_path / "one", **where) as one, running(tmp_path / "two", **where) as two:
            assert price(one) == price(two) == (first, 70_000)
            second = train(tmp_path / "second", 200, **where)
            assert taken_up(one, second) == taken_up(two, second) == 130_000
            back = finished("-m", "housepredict", "models", "rollback", "--data-dir", str(tmp_path / "third"), **where)
            assert back.returncode == 0, back.stderr
            assert taken_up(one, first) == taken_up(two, first) == 70_000
            stoppable.stop()
            assert price(one) == price(two) == (first, 70_000)
        with running(tmp_path / "one", **where) as again:
            assert price(again) == (first, 70_000)
            assert httpx2.get(f"{again.url}/health/ready").status_code == 200
        stoppable.start()


def test_the_versions_of_a_folder_go_on_when_a_database_is_set_up(tmp_path: Path, postgres: str) -> None:
    name = train(tmp_path / "sales", 100)
    where = {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
    with running(tmp_path / "sales", **where) as service, running(tmp_path / "other", **where) as other:
        assert price(service) == price(other) == (name, 70_000)
