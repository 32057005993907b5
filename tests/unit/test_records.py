"""The use case that finds, reads, erases, and prunes stored predictions; also over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import UUID

import pytest
from attrs import define, evolve
from starlette.testclient import TestClient

from housepredict.adapters.memory import InMemoryKeys, InMemoryPredictions, InMemorySales
from housepredict.domain.errors import RepositoryUnavailable, UnknownPrediction
from housepredict.domain.estimates import Prediction
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.usecases.manage_records import Records, Removed
from housepredict.testing.drawing import sample_sales
from tests.doubles import a_batch
from tests.http_service import LAB_HOUSE, application, assert_problem, lab_version, served
from tests.training import NOON, FrozenClock

UNKNOWN = "01970000-0000-7000-8000-000000000001"
INVALID_IDS = [
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
class WithLabIds(InMemoryPredictions):
    """A repository that migrated the tutorial's predictions: the first has lab id 1."""

    def find_by_lab_id(self, number: int) -> Prediction | None:
        ids = self._ids[number - 1 : number]
        return self._by_id[ids[0]] if ids else None


def filled_records(repository: InMemoryPredictions) -> tuple[Records, list[Prediction]]:
    batch = a_batch(3)
    repository.append(batch)
    return Records(repository, InMemorySales(), FrozenClock(), InMemoryKeys()), batch


def test_prediction_id_is_found_in_any_form() -> None:
    records, batch = filled_records(InMemoryPredictions())
    for each in batch:
        assert records.one(each.id) == records.one(str(each.id)) == records.one(str(each.id).upper()) == each


@pytest.mark.parametrize("id_", [*INVALID_IDS, UNKNOWN, "1"], ids=lambda id_: f"{len(id_)} {id_[-3:]}")
def test_missing_prediction_is_unknown(id_: str) -> None:
    records, _ = filled_records(InMemoryPredictions())
    with pytest.raises(UnknownPrediction, match="unknown prediction id"):
        records.one(id_)


@pytest.mark.parametrize("id_", [*INVALID_IDS, UNKNOWN, "4", "2147483647"], ids=lambda id_: f"{len(id_)} {id_[-3:]}")
def test_lab_id_that_does_not_exist_is_unknown(id_: str) -> None:
    records, _ = filled_records(WithLabIds())
    with pytest.raises(UnknownPrediction):
        records.one(id_)


def test_lab_id_finds_prediction() -> None:
    records, batch = filled_records(WithLabIds())
    assert [records.one(1), records.one("2"), records.one("3")] == batch


@pytest.fixture
def client() -> Iterator[TestClient]:
    with served(application(lab_version())) as made:
        yield made


def test_http_prediction_equals_its_list_item(client: TestClient) -> None:
    for _ in range(2):
        client.post("/predict", json=LAB_HOUSE)
    newest, oldest = client.get("/predictions").json()["predictions"]
    for each in (newest, oldest):
        answer = client.get(f"/predictions/{each['id']}")
        assert answer.status_code == 200
        assert answer.json() == each
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("id_", [UNKNOWN, "17", "latest"])
def test_http_missing_prediction_is_problem(client: TestClient, id_: str) -> None:
    problem = assert_problem(client.get(f"/predictions/{id_}"), 404, "unknown-prediction")
    assert id_ in problem["detail"]


def predictions_before_noon(count: int, *, hours_ago: int = 0) -> list[Prediction]:
    """Return predictions made some hours before noon."""
    then = NOON - timedelta(hours=hours_ago)
    return [
        evolve(each, id=id_, created_at=then)
        for each, id_ in zip(a_batch(count), IdSequence().take(count, then), strict=True)
    ]


def test_between_reads_predictions_in_order() -> None:
    repository = InMemoryPredictions()
    old, new = predictions_before_noon(1500, hours_ago=48), predictions_before_noon(1500)
    repository.append([*new, *old])
    records = Records(repository, InMemorySales(), FrozenClock(), InMemoryKeys())
    assert list(records.between()) == [*old, *new]
    yesterday = NOON - timedelta(hours=24)
    assert list(records.between(until=yesterday)) == list(records.between(None, NOON)) == old
    assert list(records.between(yesterday)) == list(records.between(NOON)) == new


def test_recent_lists_newest_without_backlog() -> None:
    records, (first, second, third) = filled_records(InMemoryPredictions())
    assert records.recent(2) == [third, second]
    assert records.recent(2, before=second.id) == [first]
    assert records.recent_and_backlog(1) == ([third], None)
    assert records.backlog() is None


def test_erase_deletes_sales_of_the_prediction_only() -> None:
    repository, sales = InMemoryPredictions(), InMemorySales()
    gone, kept = batch = a_batch(2)
    repository.append(batch)
    recorded = [sale for each in batch for sale in sample_sales(2, prediction=each.id)]
    sales.append(recorded)
    records = Records(repository, sales, FrozenClock(), InMemoryKeys())
    assert records.erase([str(gone.id), UNKNOWN]) == Removed(1, 2)
    assert records.erase([gone.id]) == Removed(0, 0)
    assert list(records.between(until=datetime.max.replace(tzinfo=UTC))) == [kept]
    assert list(sales.history(kept.id)) == recorded[2:]
    repository.append(batch)
    assert list(repository.recent(10)) == [kept]


def test_erase_deletes_sales_recorded_meanwhile() -> None:
    sales = InMemorySales()

    class Raced(InMemoryPredictions):
        def erase(self, ids: Sequence[UUID]) -> int:
            sales.append(sample_sales(1, prediction=ids[0]))
            return super().erase(ids)

    repository = Raced()
    repository.append(batch := a_batch(1))
    records = Records(repository, sales, FrozenClock(), InMemoryKeys())
    assert records.erase([batch[0].id]) == Removed(1, 1)
    assert list(sales.history(batch[0].id)) == []


def test_erase_by_lab_id_can_be_retried() -> None:
    class Unsteady(WithLabIds):
        away = True

        def erase(self, ids: Sequence[UUID]) -> int:
            if self.away:
                raise RepositoryUnavailable
            return super().erase(ids)

    repository, sales = Unsteady(), InMemorySales()
    repository.append(batch := a_batch(1))
    sales.append(sample_sales(2, prediction=batch[0].id))
    records = Records(repository, sales, FrozenClock(), InMemoryKeys())
    with pytest.raises(RepositoryUnavailable):
        records.erase([1])
    repository.away = False
    assert records.erase([1]).predictions == 1
    assert (list(sales.current()), list(repository.recent(10))) == ([], [])


def test_erase_with_invalid_id_erases_nothing() -> None:
    records, batch = filled_records(WithLabIds())
    for wrong in ("latest", "4"):
        with pytest.raises(UnknownPrediction):
            records.erase([batch[0].id, wrong])
    assert records.one(1) == batch[0]
    assert records.erase([1]) == Removed(1, 0)


def test_prune_deletes_expired_predictions_with_sales() -> None:
    repository, sales = InMemoryPredictions(), InMemorySales()
    old, new = predictions_before_noon(1500, hours_ago=49), predictions_before_noon(2, hours_ago=48)
    repository.append([*old, *new])
    recorded = [sale for each in (*old[:700], *new) for sale in sample_sales(2, prediction=each.id)]
    sales.append(recorded)
    records = Records(repository, sales, FrozenClock(), InMemoryKeys())
    assert records.prune(timedelta(days=2)) == Removed(1500, 1400)
    assert list(repository.recent(10)) == new[::-1]
    assert len(sales.current()) == 2
    assert records.prune(timedelta(days=2)) == Removed(0, 0)


def test_http_erase_is_final_and_repeatable(client: TestClient) -> None:
    id_ = client.post("/predict", json=LAB_HOUSE).json()["id"]
    sale = {"price": 250_000, "date": "2025-06-02"}
    assert client.post(f"/predictions/{id_}/sale", json=sale, headers={"Idempotency-Key": "deed"}).status_code == 201
    for _ in range(2):
        answer = client.delete(f"/predictions/{id_}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(client.get(f"/predictions/{id_}"), 404, "unknown-prediction")
    assert_problem(client.get(f"/predictions/{id_}/sale"), 404, "not-found")
    assert client.get("/predictions").json()["predictions"] == []
    # A replay of the delivery does not restore the erased sale.
    again = client.post(f"/predictions/{id_}/sale", json=sale, headers={"Idempotency-Key": "deed"})
    assert_problem(again, 410, "erased-sales")
    assert client.get("/accuracy").json()["sales"] == 0


def test_http_sales_posted_after_erasure_are_rejected(client: TestClient) -> None:
    erased, kept = [client.post("/predict", json=LAB_HOUSE).json()["id"] for _ in range(2)]
    assert client.delete(f"/predictions/{erased}").status_code == 204
    sale = {"price": 250_000, "date": "2025-06-02"}
    assert_problem(client.post(f"/predictions/{erased}/sale", json=sale), 410, "erased-sales")
    assert_problem(client.post("/sales", json=[{"prediction": erased, **sale}]), 410, "erased-sales")
    both = client.post("/sales", json=[{"prediction": id_, **sale} for id_ in (erased, kept)])
    assert both.status_code == 201
    assert [recorded["prediction"] for recorded in both.json()["sales"]] == [kept]
    assert_problem(client.get(f"/predictions/{erased}/sale"), 404, "not-found")


def test_http_replay_omits_erased_sales(client: TestClient) -> None:
    ids = [client.post("/predict", json=LAB_HOUSE).json()["id"] for _ in range(2)]
    sales = [{"prediction": each, "price": 250_000, "date": "2025-06-02"} for each in ids]
    first = client.post("/sales", json=sales, headers={"Idempotency-Key": "deeds"})
    client.delete(f"/predictions/{ids[0]}")
    again = client.post("/sales", json=sales, headers={"Idempotency-Key": "deeds"})
    assert again.status_code == 201
    assert again.json()["sales"] == first.json()["sales"][1:]


@pytest.mark.parametrize("id_", ["17", "latest"])
def test_http_erase_of_invalid_id_is_problem(client: TestClient, id_: str) -> None:
    assert_problem(client.delete(f"/predictions/{id_}"), 404, "unknown-prediction")


def test_service_prunes_expired_predictions() -> None:
    made = application(lab_version(), keep=2)
    now = datetime.now(UTC)
    ids = [*IdSequence().take(1, now - timedelta(days=3)), *IdSequence().take(1, now)]
    old, new = [evolve(each, id=id_) for each, id_ in zip(a_batch(2), ids, strict=True)]
    pruned = Event()

    class Telling(InMemoryPredictions):
        def prune(self, before: UUID, limit: int) -> int:
            found = super().prune(before, limit)
            pruned.set()
            return found

    made.storage.predictions = Telling()
    made.storage.predictions.append([old, new])
    with served(made):
        assert pruned.wait(10)
        assert list(made.storage.predictions.recent(10)) == [new]


def test_service_keeps_serving_if_pruning_fails() -> None:
    made = application(lab_version(), keep=2)
    tried = Event()

    class Refusing(InMemoryPredictions):
        def prune(self, before: UUID, limit: int) -> int:
            tried.set()
            raise RepositoryUnavailable("gone")

    made.storage.predictions = Refusing()
    with served(made) as client:
        assert tried.wait(10)
        assert client.post("/predict", json=LAB_HOUSE).status_code == 200
