"""Routes around `POST /predict`, and their error responses."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.warnings import find_warnings
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.responses import example
from housepredict.entrypoints.http.routes.route_table import ROUTES
from tests.http_service import (
    LAB_HOUSE,
    Faulty,
    application,
    assert_problem,
    broken,
    lab_version,
    served,
)

SECRET = "at db.internal:5432"


@contextmanager
def faulty(fault: Exception, made: Application | None = None) -> Iterator[tuple[TestClient, Faulty]]:
    made = made or application(lab_version())
    predictions = made.storage.predictions = Faulty()
    with served(made) as client:
        predictions.fault = fault
        yield client, predictions


@pytest.fixture
def client() -> Iterator[TestClient]:
    with served(application(lab_version())) as made:
        yield made


class TestIndex:
    def test_index_lists_all_endpoints(self, client: TestClient) -> None:
        there = {f"{method} {route.path}" for route in ROUTES for method in (route.methods or set()) - {"HEAD"}}
        assert client.get("/").json()["endpoints"].keys() == there

    def test_index_shows_working_example_request(self) -> None:
        schema = FeatureSchema(
            (
                Feature("area", Kind.NUMBER, observed=(290, 13540)),
                Feature("latitude", Kind.NUMBER, minimum=-90.0, maximum=90.0, observed=(47.1559, 47.1563)),
                Feature("longitude", Kind.NUMBER, observed=(-122.5, -121.3)),
                Feature("floors", Kind.INTEGER, observed=(1, 4)),
                Feature("view", Kind.INTEGER, observed=(0, 4)),
                Feature("waterfront", Kind.BOOLEAN),
                Feature("zipcode", Kind.CATEGORY, categories=("98001", "98002"), closed=True),
                Feature("renovated", Kind.DATE, required=False, observed=("1990-01-01", "2015-05-01")),
                Feature("sold", Kind.DATE, required=False),
            ),
            sale_date="sold",
            valuation_date=date(2015, 5, 27),
        )
        with served(application(lab_version(schema=schema))) as client:
            body = client.get("/").json()["example_request"]["body"]
            answer = client.post("/predict", json=body)
        assert body.keys() == schema.names - {"sold"}
        assert answer.status_code == 200
        assert answer.json()["warnings"] == []
        assert answer.json()["valued_on"] == "2015-05-27"


@given(
    st.lists(
        st.one_of(
            st.builds(
                Feature,
                st.text(min_size=1, max_size=5),
                st.sampled_from([Kind.NUMBER, Kind.INTEGER]),
                observed=st.none() | st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**9)).map(
                    lambda pair: (pair[0], pair[0] + pair[1])
                ),
            ),
            st.builds(
                Feature,
                st.text(min_size=1, max_size=5),
                st.just(Kind.CATEGORY),
                categories=st.lists(st.from_regex("[a-z]{1,3}", fullmatch=True), min_size=1).map(tuple),
                closed=st.booleans(),
            ),
            st.builds(Feature, st.text(min_size=1, max_size=5), st.sampled_from([Kind.BOOLEAN, Kind.DATE])),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda feature: feature.name,
    )
)  # fmt: skip
def test_example_house_fits_any_schema(features: list[Feature]) -> None:
    schema = FeatureSchema(tuple(features))
    (house,) = schema.houses([example(schema)])
    assert find_warnings(schema, house) == ()


class TestHealth:
    def test_ready_shows_generation_in_service(self) -> None:
        made = application(lab_version("one"), lab_version("two"))
        with served(made) as client:
            for name, generation in (("two", 2), ("one", 3)):
                made.models.promote(name)
                made.live_model.look()
                model = client.get("/health/ready").json()["checks"]["model"]
                assert model == {"ok": True, "model_version": name, "generation": generation}


class TestPredictions:
    def test_list_has_ten_predictions_by_default(self, client: TestClient) -> None:
        client.post("/predict", json=[LAB_HOUSE] * 12)
        assert len(client.get("/predictions").json()["predictions"]) == 10
        assert len(client.get("/predictions?limit=1000").json()["predictions"]) == 12

    @settings(max_examples=20)  # each example starts a service
    @given(count=st.integers(0, 9), limit=st.integers(1, 10))
    def test_next_links_visit_each_prediction_once(self, count: int, limit: int) -> None:
        with served(application(lab_version())) as client:
            sent = [client.post("/predict", json=LAB_HOUSE).json()["id"] for _ in range(count)]
            ids, url = [], f"/predictions?limit={limit}"
            while url:
                answer = client.get(url)
                ids += [each["id"] for each in answer.json()["predictions"]]
                link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("Link", ""))
                url = link.group(1) if link else ""
        assert ids == sent[::-1]

    @pytest.mark.parametrize(
        ("query", "violations"),
        [
            ("limit=0", [("/limit", "type")]),
            ("limit=1001", [("/limit", "type")]),
            ("limit=", [("/limit", "type")]),
            ("limit=-1", [("/limit", "type")]),
            ("limit=1.5", [("/limit", "type")]),
            ("limit=%D9%A3", [("/limit", "type")]),
            ("limit=" + "9" * 5000, [("/limit", "type")]),
            ("limit=1&limit=1", [("/limit", "duplicate")]),
            ("limit=0&limit=1", [("/limit", "type"), ("/limit", "duplicate")]),
            ("before=5", [("/before", "type")]),
            ("before={01a20ad8-5638-74c3-8f9f-2207130fdd46}", [("/before", "type")]),
            ("offset=1&a/b=2", [("/offset", "unknown"), ("/a~1b", "unknown")]),
            ("limit=x&before=y&z", [("/limit", "type"), ("/before", "type"), ("/z", "unknown")]),
            ("%ff=%00", [("/\N{REPLACEMENT CHARACTER}", "unknown")]),
        ],
    )
    def test_query_violations_are_all_named(
        self, client: TestClient, query: str, violations: list[tuple[str, str]]
    ) -> None:
        assert broken(assert_problem(client.get(f"/predictions?{query}"), 422, "invalid-query")) == violations

    @pytest.mark.parametrize(("path", "more"), [("/predictions", {}), ("/predict", {"method": "POST", "json": {}})])
    def test_query_with_too_many_parameters_is_rejected(
        self, client: TestClient, path: str, more: dict[str, Any]
    ) -> None:
        answer = client.request(**{"method": "GET", "url": f"{path}?{'&a' * 1001}"} | more)
        assert broken(assert_problem(answer, 422, "invalid-query")) == [("", "limit")]

    def test_prediction_id_is_case_insensitive(self, client: TestClient) -> None:
        first, second = (client.post("/predict", json=LAB_HOUSE).json()["id"] for _ in range(2))
        answer = client.get(f"/predictions?before={second.upper()}")
        assert [each["id"] for each in answer.json()["predictions"]] == [first]


class TestMethodsAndPaths:
    @pytest.mark.parametrize("path", ["/nowhere", "/predict/", "/predict/1", "/%00", "/%ff", "/%2F"])
    def test_unknown_path_is_a_problem(self, client: TestClient, path: str) -> None:
        assert_problem(client.get(path), 404, "not-found")

    def test_options_request_lists_methods(self, client: TestClient) -> None:
        answer = client.options("/predictions")
        assert (answer.status_code, answer.headers["Allow"], answer.content) == (204, "GET, HEAD, OPTIONS", b"")
        assert_problem(client.options("/nowhere"), 404, "not-found")

    def test_head_equals_get_without_body(self, client: TestClient) -> None:
        head, get = client.head("/health"), client.get("/health")
        assert (head.status_code, head.content) == (200, b"")
        of_each = {"x-request-id"}
        assert {**head.headers}.keys() == {**get.headers}.keys()
        assert all(head.headers[each] == get.headers[each] for each in head.headers.keys() - of_each)


class TestFailures:
    def test_storage_failure_hides_address_and_estimates_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        with faulty(RepositoryUnavailable(f"no connection {SECRET}")) as (client, predictions):
            for body in (LAB_HOUSE, [LAB_HOUSE]):
                answer = client.post("/predict", json=body)
                problem = assert_problem(answer, 503, "storage-unavailable")
                assert answer.headers["Retry-After"].isdecimal()
                assert "id" not in problem
                assert "prediction" not in problem
                assert SECRET not in answer.text
            assert SECRET in caplog.text
            predictions.fault = None
            assert client.get("/predictions").json() == {"predictions": []}

    @pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("GET", "/health/ready")])
    def test_unexpected_error_returns_id_and_is_logged(
        self, method: str, path: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with faulty(KeyError(SECRET)) as (client, _):
            answer = client.request(method, path, json=LAB_HOUSE)
        problem = assert_problem(answer, 500, "internal-error")
        assert problem["instance"].startswith("urn:uuid:")
        assert problem["instance"] in problem["detail"]
        assert SECRET not in answer.text
        assert "KeyError" not in answer.text
        (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert problem["instance"] in record.getMessage()
        assert record.exc_info
        assert SECRET in caplog.text
        assert "Traceback" in caplog.text

    def test_service_recovers_from_unexpected_error(self) -> None:
        with faulty(KeyError(SECRET)) as (client, predictions):
            assert client.post("/predict", json=LAB_HOUSE).status_code == 500
            predictions.fault = None
            assert client.post("/predict", json=LAB_HOUSE).status_code == 200
