"""The use case of predictions that are remembered, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import define
from starlette.testclient import TestClient

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import UnknownPrediction
from housepredict.domain.estimates import Prediction
from housepredict.domain.usecases import Records
from tests.doubles import a_batch
from tests.http_service import LAB_HOUSE, application, assert_problem, lab_version, served

UNKNOWN = "01970000-0000-7000-8000-000000000001"
NO_IDS = [
    "",
    "0",
    "-1",
    "1.0",
    "2147483648",
    "99999999999999999999",
    "\u0661",
    "latest",
    UNKNOWN[:-1],
    f"{UNKNOWN}0",
    "1" * 999,
]


@define
class Numbering(InMemoryPredictions):
    """Has taken over the tutorial's predictions: all that there are, from number 1 on."""

    def of_lab(self, number: int) -> Prediction | None:
        ids = self._ids[number - 1 : number]
        return self._by_id[ids[0]] if ids else None


def filled(repository: InMemoryPredictions) -> tuple[Records, list[Prediction]]:
    batch = a_batch(3)
    repository.append(batch)
    return Records(repository), batch


def test_a_prediction_is_found_by_its_id_however_that_is_written() -> None:
    records, batch = filled(InMemoryPredictions())
    for each in batch:
        assert records.one(each.id) == records.one(str(each.id)) == records.one(str(each.id).upper()) == each


@pytest.mark.parametrize("id_", [*NO_IDS, UNKNOWN, "1"], ids=lambda id_: f"{len(id_)} {id_[-3:]}")
def test_what_is_not_remembered_is_unknown(id_: str) -> None:
    records, _ = filled(InMemoryPredictions())
    with pytest.raises(UnknownPrediction, match="is remembered"):
        records.one(id_)


@pytest.mark.parametrize("id_", [*NO_IDS, UNKNOWN, "4", "2147483647"], ids=lambda id_: f"{len(id_)} {id_[-3:]}")
def test_what_the_tutorial_did_not_number_is_unknown(id_: str) -> None:
    records, _ = filled(Numbering())
    with pytest.raises(UnknownPrediction):
        records.one(id_)


def test_a_prediction_of_the_tutorial_is_found_by_its_number() -> None:
    records, batch = filled(Numbering())
    assert [records.one(1), records.one("2"), records.one("3")] == batch


@pytest.fixture
def client() -> Iterator[TestClient]:
    with served(application(lab_version())) as made:
        yield made


def test_over_http_a_prediction_is_what_it_is_in_the_list(client: TestClient) -> None:
    for _ in range(2):
        client.post("/predict", json=LAB_HOUSE)
    newest, oldest = client.get("/predictions").json()["predictions"]
    for each in (newest, oldest):
        answer = client.get(f"/predictions/{each['id']}")
        assert answer.status_code == 200
        assert answer.json() == each
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("id_", [UNKNOWN, "17", "latest"])
def test_over_http_one_that_is_not_remembered_is_a_problem(client: TestClient, id_: str) -> None:
    problem = assert_problem(client.get(f"/predictions/{id_}"), 404, "unknown-prediction")
    assert id_ in problem["detail"]
