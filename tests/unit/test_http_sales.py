"""The routes for sales that come back, over memory and with a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from attrs import define
from httpx2 import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.memory_sales import InMemorySales
from housepredict.domain.deliveries import Delivery
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.recorded_sales import RecordedSale
from housepredict.domain.usecases import Predict, RecordSales
from housepredict.entrypoints.bootstrap import Application
from tests.doubles import a_batch
from tests.http_service import (
    LAB_HOUSE,
    LAB_PRICE,
    application,
    assert_problem,
    broken,
    lab_version,
    served,
)
from tests.training import NOON, FrozenClock

DAY = "2025-06-02"
UNKNOWN = "01970000-0000-7000-8000-000000000001"


def at_noon(made: Application, clock: FrozenClock | None = None) -> Application:
    """The application, to which it is noon all day."""
    clock, batch = clock or FrozenClock(), made.settings.max_batch
    made.predict = Predict(made.live_model, made.predictions, clock, batch)
    made.record_sales = RecordSales(made.sales, made.predictions, clock, batch)
    return made


@pytest.fixture
def made() -> Application:
    return at_noon(application(lab_version(), max_batch=5))


@pytest.fixture
def client(made: Application) -> Iterator[TestClient]:
    with served(made) as client:
        yield client


def estimated(client: TestClient) -> str:
    id_: str = client.post("/predict", json=LAB_HOUSE).json()["id"]
    return id_


def a_sale(prediction: str = UNKNOWN, price: object = 200_000, day: object = DAY) -> dict[str, Any]:
    return {"prediction": prediction, "price": price, "date": day}


class TestOneSale:
    def test_is_matched_with_its_estimate(self, client: TestClient) -> None:
        id_ = estimated(client)
        answer = client.post(f"/predictions/{id_}/sale", json={"price": 200_000, "date": DAY})
        assert answer.status_code == 201
        sale = answer.json()
        assert UUID(sale.pop("id")).version == 7
        assert sale == {
            "prediction": id_,
            "price": 200_000.0,
            "date": DAY,
            "recorded_at": NOON.isoformat(),
            "status": "matched",
            "estimate": LAB_PRICE,
            "ratio": LAB_PRICE / 200_000,
            "model_version": "lab",
            "unmatched": 0,
        }

    def test_of_an_unknown_prediction_is_kept_for_when_it_arrives(self, client: TestClient, made: Application) -> None:
        (late,) = a_batch(1)
        answer = client.post(f"/predictions/{late.id}/sale", json={"price": 200_000, "date": DAY})
        assert (answer.status_code, answer.json()["status"], answer.json()["unmatched"]) == (202, "unmatched", 1)
        made.predictions.append([late])
        assert client.get(f"/predictions/{late.id}/sale").json()["status"] == "matched"

    def test_is_corrected_and_its_history_kept(self, client: TestClient) -> None:
        path = f"/predictions/{estimated(client)}/sale"
        first, second = (client.post(path, json={"price": price, "date": DAY}).json() for price in (1, 2))
        document = client.get(path).json()
        history = document.pop("history")
        assert document["price"] == 2
        assert history == [
            {name: value for name, value in each.items() if name != "unmatched"} for each in (first, second)
        ]
        assert history[-1] == document

    def test_that_was_not_recorded_is_not_found(self, client: TestClient) -> None:
        assert_problem(client.get(f"/predictions/{UNKNOWN}/sale"), 404, "not-found")

    def test_of_what_is_no_id_is_refused(self, client: TestClient) -> None:
        for answer in (
            client.get("/predictions/7/sale"),
            client.post("/predictions/7/sale", json={"price": 1, "date": DAY}),
        ):
            assert broken(assert_problem(answer, 422, "invalid-sales")) == [("/prediction", "type")]

    def test_names_its_prediction_once(self, client: TestClient) -> None:
        body = b'{"price": 1, "price": 2, "date": "2025-06-02", "prediction": "%b"}' % UNKNOWN.encode()
        answer = client.post(f"/predictions/{UNKNOWN}/sale", content=body, headers={"Content-Type": "application/json"})
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [
            ("/price", "duplicate"),
            ("/prediction", "duplicate"),
        ]

    @pytest.mark.parametrize("body", ["7", "null", '"x"', "[]"])
    def test_is_an_object(self, client: TestClient, body: str) -> None:
        answer = client.post(f"/predictions/{UNKNOWN}/sale", content=body, headers={"Content-Type": "application/json"})
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [("", "type")]


class TestSales:
    def test_come_one_at_a_time(self, client: TestClient) -> None:
        answer = client.post("/sales", json=a_sale(estimated(client)))
        assert (answer.status_code, answer.json()["status"]) == (201, "matched")

    def test_come_as_a_list(self, client: TestClient) -> None:
        ids = [estimated(client) for _ in range(2)]
        answer = client.post("/sales", json=[a_sale(each) for each in ids])
        assert answer.status_code == 201
        assert [each["prediction"] for each in answer.json()["sales"]] == ids
        assert answer.json()["unmatched"] == 0

    def test_come_as_csv(self, client: TestClient) -> None:
        content = f"id,price,date\n{estimated(client)},200000,{DAY}\n{UNKNOWN},1,{DAY}\n"
        answer = client.post("/sales", content=content, headers={"Content-Type": "text/csv; charset=utf-8"})
        assert answer.status_code == 202
        assert [each["status"] for each in answer.json()["sales"]] == ["matched", "unmatched"]
        assert answer.json()["unmatched"] == 1

    def test_are_recorded_all_or_none(self, client: TestClient, made: Application) -> None:
        answer = client.post("/sales", json=[a_sale(), a_sale(price=0), {"prize": 1}])
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [
            ("/1/price", "bounds"),
            ("/2/prediction", "missing"),
            ("/2/price", "missing"),
            ("/2/date", "missing"),
            ("/2/prize", "unknown"),
        ]
        assert list(made.sales.current()) == []

    def test_are_no_more_than_a_batch(self, client: TestClient) -> None:
        answer = client.post("/sales", json=[a_sale()] * 6)
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [("", "limit")]

    def test_lie_in_the_past_or_are_of_tomorrow(self, client: TestClient) -> None:
        answer = client.post("/sales", json=[a_sale(day=DAY), a_sale(day="2025-06-03")])
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [("/1/date", "date")]

    @pytest.mark.parametrize("content_type", ["text/plain", "text/csv; charset=nonsense", ""])
    def test_are_json_or_csv(self, client: TestClient, content_type: str) -> None:
        answer = client.post("/sales", content=b"[]", headers={"Content-Type": content_type})
        assert_problem(answer, 415, "unsupported-media-type")
        assert answer.headers["Accept"] == "application/json, text/csv"

    def test_are_no_larger_than_a_body_may_be(self) -> None:
        with served(application(lab_version(), max_body=1024)) as client:
            assert_problem(client.post("/sales", json=["x" * 1024]), 413, "body-too-large")

    def test_that_are_no_json_are_refused(self, client: TestClient) -> None:
        answer = client.post("/sales", content=b"{", headers={"Content-Type": "application/json"})
        assert_problem(answer, 400, "not-json")

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
    def test_that_make_no_sense_are_never_a_fault_of_the_service(self, body: bytes, content_type: str) -> None:
        with served(application(lab_version())) as client:
            answer = client.post("/sales", content=body, headers={"Content-Type": content_type})
        assert answer.status_code in {201, 202, 400, 422}


class TestKeys:
    def test_let_a_request_be_repeated(self, client: TestClient, made: Application) -> None:
        id_, headers = estimated(client), {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}

        def send(price: int) -> Response:
            return client.post(f"/predictions/{id_}/sale", json={"price": price, "date": DAY}, headers=headers)

        first, again = send(200_000), send(200_000)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert len(made.sales.history(UUID(id_))) == 1
        assert_problem(send(200_001), 422, "repeated-key")
        assert len(made.sales.history(UUID(id_))) == 1

    @pytest.mark.parametrize("key", ["", "two words", "x" * 256])
    def test_are_plain(self, client: TestClient, key: str) -> None:
        answer = client.post("/sales", json=a_sale(), headers={"Idempotency-Key": key})
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [("", "text")]

    def test_come_alone(self, client: TestClient) -> None:
        answer = client.post("/sales", json=a_sale(), headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
        assert broken(assert_problem(answer, 422, "invalid-sales")) == [("", "duplicate")]


class TestAccuracy:
    def test_is_that_of_the_sales_that_came_back(self, made: Application) -> None:
        clock = FrozenClock()
        with served(at_noon(made, clock)) as client:
            ids = [estimated(client) for _ in range(3)]
            clock.time += timedelta(days=30)
            client.post(
                "/sales",
                json=[
                    a_sale(ids[0], LAB_PRICE),
                    a_sale(ids[1], LAB_PRICE / 2, "2025-06-03"),
                    a_sale(ids[2], LAB_PRICE, "2025-06-01"),
                    a_sale(),
                ],
            )
            document = client.get("/accuracy").json()
            assert [document[name] for name in ("sales", "unmatched", "too_late", "cut_off")] == [4, 1, 1, False]
            assert [document["whole"][name] for name in ("n", "median_ratio", "mdape")] == [2, 1.5, 50]
            assert document["whole"]["bounds"]["median_ratio"] == {"low": 1, "high": 2}
            assert document["by_version"] == {"lab": document["whole"]}
            later = client.get("/accuracy?since=2025-06-03&until=2025-06-03").json()
            assert (later["since"], later["until"], later["sales"]) == ("2025-06-03", "2025-06-03", 1)

    def test_is_measured_for_one_at_a_time(self, made: Application) -> None:
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

        made.sales = Crowded()
        with served(made) as client, ThreadPoolExecutor(8) as threads:
            answers = [threads.submit(client.get, "/accuracy") for _ in range(8)]
        assert {each.result().status_code for each in answers} == {200}
        assert Crowded.most == 1

    def test_is_none_without_sales(self, client: TestClient) -> None:
        document = client.get("/accuracy").json()
        assert (document["sales"], document["whole"], document["by_version"]) == (0, None, {})

    def test_wants_days_of_the_calendar(self, client: TestClient) -> None:
        answer = client.get("/accuracy?since=2025-02-30&until=yesterday&more=1&until=2025-01-01")
        assert broken(assert_problem(answer, 422, "invalid-query")) == [
            ("/since", "type"),
            ("/until", "type"),
            ("/more", "unknown"),
            ("/until", "duplicate"),
        ]


@pytest.mark.parametrize("path", ["/sales", f"/predictions/{UNKNOWN}/sale"])
def test_not_everybody_may_say_what_was_sold(made: Application, path: str) -> None:
    with served(made, peer="203.0.113.9") as client:
        assert_problem(client.post(path, json=a_sale()), 403, "forbidden")
    with served(at_noon(application(lab_version(), token="a token that is long"))) as client:
        assert_problem(client.post(path, json=a_sale()), 401, "unauthorized")
        body = {"price": 1, "date": DAY} if "predictions" in path else a_sale()
        answer = client.post(path, json=body, headers={"Authorization": "Bearer a token that is long"})
        assert answer.status_code == 202


class TestWhileStorageIsAway:
    @define
    class Away(InMemorySales):
        def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
            raise RepositoryUnavailable("at db.internal:5432")

        def current(
            self, since: date | None = None, until: date | None = None, limit: int | None = None
        ) -> Sequence[RecordedSale]:
            raise RepositoryUnavailable("at db.internal:5432")

    def test_nothing_is_acknowledged(self) -> None:
        made = application(lab_version())
        made.sales = self.Away()
        with served(at_noon(made)) as client:
            for answer in (client.post("/sales", json=a_sale()), client.get("/accuracy")):
                assert_problem(answer, 503, "storage-unavailable")
                assert answer.headers["Retry-After"] == "5"
                assert "db.internal" not in answer.text

    def test_of_the_predictions_nothing_is_recorded(self) -> None:
        class Gone(InMemoryPredictions):
            def find(self, ids):  # type: ignore[no-untyped-def]
                raise RepositoryUnavailable

        made = application(lab_version())
        made.predictions = Gone()
        with served(at_noon(made)) as client:
            assert_problem(client.post("/sales", json=a_sale()), 503, "storage-unavailable")
        assert list(made.sales.current()) == []
