"""Many concurrent requests with one idempotency key, and their retries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx2
import psycopg
from psycopg.conninfo import make_conninfo

from tests.integration.load import eventually, url
from tests.integration.relay import Relay
from tests.integration.services import LAB_HOUSE, LAB_PRICE, Service, running

_CONCURRENT = 16


def ask(service: Service, key: str | None, **house: int) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return httpx2.post(f"{service.url}/predict", json=LAB_HOUSE | house, headers=headers, timeout=30)


def send_concurrently(service: Service, key: str) -> list[httpx2.Response]:
    start = Barrier(_CONCURRENT)

    def send(_number: int) -> httpx2.Response:
        start.wait(30)
        answer = ask(service, key)
        while answer.status_code == 503:  # the database took too long, so the client retries
            answer = ask(service, key)
        return answer

    with ThreadPoolExecutor(_CONCURRENT) as threads:
        return list(threads.map(send, range(_CONCURRENT)))


def assert_recorded_once(service: Service) -> None:
    for key in ("deed-1", "deed-2", "deed-3"):
        answers = send_concurrently(service, key)
        assert {each.status_code for each in answers} == {200}
        assert answers[0].json()["prediction"] == LAB_PRICE
        assert {each.content for each in answers} == {ask(service, key).content}
    assert_refused(ask(service, "deed-1", size=900), 422, "repeated-key")
    assert len(httpx2.get(f"{service.url}/predictions").json()["predictions"]) == 3


def assert_refused(answer: httpx2.Response, status: int, problem: str) -> None:
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:housepredict:problem:{problem}")


def test_concurrent_requests_with_one_key_store_once(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", HOUSEPREDICT_WORKERS="2") as service:
        assert_recorded_once(service)


def test_postgres_outage_rejects_only_keyed_requests(tmp_path: Path, postgres: str, relay: Relay) -> None:
    through = make_conninfo(postgres, host="127.0.0.1", port=relay.port)
    variables = {"HOUSEPREDICT_DATABASE_URL": url(through), "HOUSEPREDICT_MODELS": "folder"}
    with running(tmp_path, "--demo", HOUSEPREDICT_WORKERS="2", **variables) as service:
        assert_recorded_once(service)
        first = ask(service, "deed-1")
        relay.freeze()
        refused = ask(service, "deed-1")
        assert_refused(refused, 503, "storage-unavailable")
        assert refused.headers["Retry-After"]
        assert ask(service, None).status_code == 200
        relay.thaw()
        eventually(lambda: ask(service, "deed-1").status_code == 200)
        assert ask(service, "deed-1").content == first.content
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (4,)
