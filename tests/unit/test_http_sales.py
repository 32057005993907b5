"""Routes for recorded sales, with in-memory storage and a frozen clock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Event
from typing import Any

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from housepredict.adapters.memory import InMemoryPredictions, InMemorySales
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.idempotency import Delivery
from housepredict.domain.sales import RecordedSale
from housepredict.entrypoints.composition import Application
from tests.doubles import a_batch
from tests.http_service import (
    application,
    assert_problem,
    broken,
    lab_version,
    served,
)
from tests.training import FrozenClock

DAY = "2025-06-02"
UNKNOWN = "01970000-0000-7000-8000-000000000001"


def freeze_clock(made: Application, clock: FrozenClock | None = None) -> Application:
    """Freeze the clock of the application, by default at noon."""
    made.clock = clock or FrozenClock()
    return made


@pytest.fixture
def made() -> Application:
    return freeze_clock(application(lab_version(), max_batch=5))


@pytest.fixture
def client(made: Application) -> Iterator[TestClient]:
    with served(made) as client:
        yield client


def sale_json(prediction: str = UNKNOWN, price: object = 200_000, day: object = DAY) -> dict[str, Any]:
    return {"prediction": prediction, "price": price, "date": day}


class TestOneSale:
    def test_sale_of_unknown_prediction_is_matched_later(self, client: TestClient, made: Application) -> None:
        (late,) = a_batch(1)
        answer = client.post(f"/predictions/{late.id}/sale", json={"price": 200_000, "date": DAY})
        assert (answer.status_code, answer.json()["status"], answer.json()["unmatched"]) == (202, "unmatched", 1)
        made.storage.predictions.append([late])
        assert client.get(f"/predictions/{late.id}/sale").json()["status"] == "matched"

    def test_sale_of_malformed_id_is_rejected(self, client: TestClient) -> None:
        for answer in (
            client.get("/predictions/7/sale"),
            client.post("/predictions/7/sale", json={"price": 1, "date": DAY}),
        ):
            assert broken(assert_problem(answer, 422, "invalid-sales")) == [("/prediction", "type")]

    def test_sale_names_its_prediction_once(self, client: TestClient) -> None:
        body = b'{"price": 1, "price": 2, "date": "2025-06-02", "prediction": "%b"}' % UNKNOWN.encode()
        answer = client.post(f"/predictions/{UNKNOWN}/sale", content=body, headers={"Content-Type": "application/json"})
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [
            ("/price", "duplicate"),
            ("/prediction", "duplicate"),
        ]


class TestSales:
    def test_sales_are_limited_by_body_size(self) -> None:
        with served(application(lab_version(), max_body=1024)) as client:
            assert_problem(client.post("/sales", json=["x" * 1024]), 413, "body-too-large")

    @settings(max_examples=50)
    @given(
        body=st.binary()
        | st.text().map(str.encode)
        | st.recursive(
            st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(("prediction", "price", "date", "x")), inner, max_size=3)
            ),
        ).map(lambda value: json.dumps(value).encode()),
        content_type=st.sampled_from(("application/json", "text/csv")),
    )
    def test_malformed_sales_never_cause_server_error(self, body: bytes, content_type: str) -> None:
        with served(application(lab_version())) as client:
            answer = client.post("/sales", content=body, headers={"Content-Type": content_type})
        assert answer.status_code in {201, 202, 400, 422}


class TestIdempotencyKeys:
    def test_repeated_key_header_is_rejected(self, client: TestClient) -> None:
        answer = client.post("/sales", json=sale_json(), headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [("", "duplicate")]


class TestAccuracy:
    def test_accuracy_is_computed_one_request_at_a_time(self, made: Application) -> None:
        class Crowded(InMemorySales):
            now, most = 0, 0

            def current(
                self, since: date | None = None, until: date | None = None, limit: int | None = None
            ) -> Sequence[RecordedSale]:
                Crowded.now += 1
                Crowded.most = max(Crowded.most, Crowded.now)
                Event().wait(0.01)
                Crowded.now -= 1
                return []

        made.storage.sales = Crowded()
        with served(made) as client, ThreadPoolExecutor(8) as threads:
            answers = [threads.submit(client.get, "/accuracy") for _ in range(8)]
        assert {each.result().status_code for each in answers} == {200}
        assert Crowded.most == 1


class TestStorageFailures:
    @define
    class UnavailableSales(InMemorySales):
        def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
            raise RepositoryUnavailable("at db.internal:5432")

        def current(
            self, since: date | None = None, until: date | None = None, limit: int | None = None
        ) -> Sequence[RecordedSale]:
            raise RepositoryUnavailable("at db.internal:5432")

    def test_sale_is_not_acknowledged_without_storage(self) -> None:
        made = application(lab_version())
        made.storage.sales = self.UnavailableSales()
        with served(freeze_clock(made)) as client:
            for answer in (client.post("/sales", json=sale_json()), client.get("/accuracy")):
                assert_problem(answer, 503, "storage-unavailable")
                assert answer.headers["Retry-After"] == "5"
                assert "db.internal" not in answer.text

    def test_sale_is_not_recorded_without_prediction_storage(self) -> None:
        class UnavailablePredictions(InMemoryPredictions):
            def find(self, ids):  # type: ignore[no-untyped-def]
                raise RepositoryUnavailable

        made = application(lab_version())
        made.storage.predictions = UnavailablePredictions()
        with served(freeze_clock(made)) as client:
            assert_problem(client.post("/sales", json=sale_json()), 503, "storage-unavailable")
        assert list(made.storage.sales.current()) == []
