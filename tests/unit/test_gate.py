"""Rate limits and CORS: nothing unless they are asked for, and what they are asked for then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from housepredict.domain.errors import InvalidSettings
from housepredict.entrypoints.client_settings import RateLimit
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.gate import Limiter
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.settings import read_settings
from tests.http_service import LAB_HOUSE, application, assert_problem, lab_version, served

PAGE = {"Origin": "https://prices.example"}
PREFLIGHT = {**PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


class Clock:
    """Stands still until it is told to go on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def passed(limiter: Limiter, address: str = "192.0.2.1") -> bool:
    try:
        limiter.take({"client": (address, 50000)})
    except Problem:
        return False
    return True


class TestLimiter:
    def test_as_many_as_the_limit_says_come_at_once_and_then_as_fast_as_it_says(self) -> None:
        clock = Clock()
        limiter = Limiter(RateLimit(60, 60.0), clock)
        assert [passed(limiter) for _ in range(62)] == [True] * 60 + [False] * 2
        clock.now += 1.0
        assert [passed(limiter) for _ in range(2)] == [True, False]
        clock.now += 3600.0
        assert sum(passed(limiter) for _ in range(100)) == 60

    def test_who_is_refused_is_told_when_to_come_back_and_may_then(self) -> None:
        clock = Clock()
        limiter = Limiter(RateLimit(2, 3600.0), clock)
        assert passed(limiter)
        assert passed(limiter)
        with pytest.raises(Problem) as refusal:
            limiter.take({"client": ("192.0.2.1", 1)})
        assert refusal.value.headers == {"Retry-After": "1800"}
        clock.now += 1799.0
        assert not passed(limiter)
        clock.now += 1.0
        assert passed(limiter)

    def test_addresses_have_buckets_of_their_own(self) -> None:
        limiter = Limiter(RateLimit(1, 1.0), Clock())
        assert passed(limiter, "192.0.2.1")
        assert passed(limiter, "192.0.2.2")
        assert not passed(limiter, "192.0.2.1")
        limiter.take({"client": None})

    def test_only_so_many_addresses_are_remembered_those_that_asked_last(self) -> None:
        limiter = Limiter(RateLimit(1, 1.0), Clock(), 2)
        assert [passed(limiter, address) for address in "abacb"] == [True, True, False, True, True]

    @given(st.integers(1, 50), st.sampled_from([1.0, 60.0]), st.lists(st.floats(0, 30), max_size=200))
    def test_in_no_span_of_time_come_more_than_a_full_bucket_and_what_flows_in(
        self, requests: int, seconds: float, pauses: list[float]
    ) -> None:
        clock = Clock()
        limiter = Limiter(RateLimit(requests, seconds), clock)
        times = []
        for pause in pauses:
            clock.now += pause
            if passed(limiter):
                times.append(clock.now)
        for first, start in enumerate(times):
            for last, end in enumerate(times[first:], start=first):
                assert last - first + 1 <= requests * (1 + (end - start) / seconds) + 1e-3


def test_without_a_limit_any_number_may_come() -> None:
    with served(application(lab_version())) as client:
        assert {client.get("/models").status_code for _ in range(50)} == {200}


def test_beyond_the_limit_every_route_is_closed_but_health() -> None:
    with served(application(lab_version(), rate_limit=RateLimit(2, 3600.0))) as client:
        for _ in range(3):
            assert client.get("/health/live").status_code == client.get("/v2/health/ready").status_code == 200
        assert client.post("/predict", json=LAB_HOUSE).status_code == 200
        assert client.get("/models").status_code == 200
        for answer in (client.post("/predict", json=LAB_HOUSE), client.get("/v2"), client.get("/nowhere")):
            assert_problem(answer, 429, "rate-limited")
            assert answer.headers["Retry-After"] == "1800"
        assert client.get("/health").status_code == 200


def test_health_is_open_wherever_the_app_is_mounted() -> None:
    made = asgi_app(application=application(lab_version(), rate_limit=RateLimit(1, 3600.0)))
    lifespan: Any = made.router.lifespan_context
    outer = Starlette(routes=[Mount("/prices", made)], lifespan=lambda _app: lifespan(made))
    with TestClient(outer) as client:
        assert [client.get("/prices/models").status_code for _ in range(2)] == [200, 429]
        assert client.get("/prices/health/live").status_code == 200


def cors(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith("access-control-")}


def test_without_origins_no_page_is_told_anything() -> None:
    with served(application(lab_version())) as client:
        assert cors(client.post("/predict", json=LAB_HOUSE, headers=PAGE).headers) == {}
        assert cors(client.options("/predict", headers=PREFLIGHT).headers) == {}


def test_a_page_of_an_origin_that_is_named_may_read_answers_and_errors() -> None:
    with served(application(lab_version(), cors_origins=("https://prices.example",))) as client:
        preflight = client.options("/predict", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://prices.example"
        for body, status in ((LAB_HOUSE, 200), ({}, 400)):
            answer = client.post("/predict", json=body, headers=PAGE)
            assert answer.status_code == status
            assert answer.headers["Access-Control-Allow-Origin"] == "https://prices.example"
            assert "Link" in answer.headers["Access-Control-Expose-Headers"]
            assert "Origin" in answer.headers["Vary"]
        other = client.post("/predict", json=LAB_HOUSE, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert client.options("/predict", headers={**PREFLIGHT, "Origin": "https://evil.example"}).status_code == 400
        # reading is one thing, changing something another
        assert_problem(client.post("/models/rollback", headers=PAGE), 403, "forbidden")


def test_pages_of_all_origins_may_read_where_all_are_named() -> None:
    with served(application(lab_version(), cors_origins=("*",), rate_limit=RateLimit(1, 3600.0))) as client:
        for status in (200, 429):
            answer = client.get("/models", headers=PAGE)
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
        assert client.options("/models", headers=PREFLIGHT).status_code == 200


@pytest.mark.parametrize(("text", "limit"), [("100/s", (100, 1.0)), ("6000/m", (6000, 60.0)), ("1/h", (1, 3600.0))])
def test_a_limit_is_a_number_each_second_minute_or_hour(text: str, limit: tuple[int, float]) -> None:
    assert read_settings({"HOUSEPREDICT_RATE_LIMIT": text}).rate_limit == RateLimit(*limit)


def test_origins_are_a_list() -> None:
    given = "https://prices.example, http://LOCALHOST:3000 http://[::1]"
    expected = ("https://prices.example", "http://localhost:3000", "http://[::1]")
    assert read_settings({"HOUSEPREDICT_CORS_ORIGINS": given}).cors_origins == expected
    assert read_settings({"HOUSEPREDICT_CORS_ORIGINS": "*"}).cors_origins == ("*",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[("RATE_LIMIT", text) for text in ("0/s", "100", "100/d", "s", "-1/s", "1.5/s", "9999999999/s")],
        *[("CORS_ORIGINS", text) for text in (",", "prices.example", "https://prices.example/", "ftp://a", "null")],
    ],
)
def test_what_is_neither_is_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidSettings, match=f"HOUSEPREDICT_{name} must be"):
        read_settings({f"HOUSEPREDICT_{name}": text})
