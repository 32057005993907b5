"""Recording realized sales with a running service."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.sqlite.predictions import SqlitePredictions
from housepredict.domain.ports import PredictionRepository
from tests.doubles import a_batch
from tests.integration.load import caught_up, url
from tests.integration.services import LAB_HOUSE, LAB_PRICE, Service, running
from tests.postgres_servers import Server, database

# an estimate counts only for a sale on a later day, and sales may be dated tomorrow


def post_sale(service: Service, id_: object, price: float, key: str | None = None) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"price": price, "date": str(datetime.now(UTC).date() + timedelta(1))}
    return httpx2.post(f"{service.url}/predictions/{id_}/sale", json=body, headers=headers)


def get_json(service: Service, path: str) -> Any:
    answer = httpx2.get(service.url + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_recorded_sale_is_corrected_and_measured(tmp_path: Path, where: str, request: pytest.FixtureRequest) -> None:
    variables = {"HOUSEPREDICT_WORKERS": "2"}
    another: Callable[[], AbstractContextManager[PredictionRepository]]
    if where == "postgres":
        conninfo = request.getfixturevalue("postgres")
        variables |= {"HOUSEPREDICT_DATABASE_URL": url(conninfo), "HOUSEPREDICT_MODELS": "folder"}
        another = partial(PostgresPredictions.open, conninfo)
    else:
        another = partial(SqlitePredictions.open, tmp_path / "data" / "predictions.sqlite")
    with running(tmp_path, "--demo", **variables) as service:
        id_ = httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).json()["id"]
        assert post_sale(service, id_, 200_000, "a key").status_code == 422
        first = post_sale(service, id_, 200_000, "a-key")
        assert (first.status_code, first.json()["estimate"]) == (201, LAB_PRICE)
        again = post_sale(service, id_, 200_000, "a-key")
        assert (again.status_code, again.json()) == (201, first.json())
        assert post_sale(service, id_, 1, "a-key").status_code == 422
        assert post_sale(service, id_, LAB_PRICE).status_code == 201
        document = get_json(service, f"/predictions/{id_}/sale")
        assert [each["price"] for each in document["history"]] == [200_000, LAB_PRICE]

        (late,) = a_batch(1)
        waiting = post_sale(service, late.id, 100_000)
        assert (waiting.status_code, waiting.json()["status"]) == (202, "unmatched")
        measured = get_json(service, "/accuracy")
        assert (measured["sales"], measured["unmatched"], measured["overall"]["n"]) == (2, 1, 1)
        assert measured["by_version"]["demonstration"]["median_ratio"] == 1
        # like another replica that drains its spool late
        with another() as predictions:
            predictions.append([late])
        measured = get_json(service, "/accuracy")
        assert (measured["unmatched"], measured["overall"]["n"]) == (0, 2)
        assert measured["by_version"].keys() == {"demonstration", "a version"}
        assert get_json(service, f"/predictions/{late.id}/sale")["status"] == "matched"
    with running(tmp_path, "--demo", **variables) as service:
        assert get_json(service, "/accuracy") == measured, "it outlives the service"


def test_outage_rejects_sales_and_allows_estimates(tmp_path: Path, stoppable: Server) -> None:
    with database(stoppable.conninfo) as conninfo:
        variables = {"HOUSEPREDICT_DATABASE_URL": url(conninfo), "HOUSEPREDICT_MODELS": "folder"}
        with running(tmp_path, "--demo", **variables) as service:
            before = httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).json()["id"]
            assert post_sale(service, before, 200_000, "before").status_code == 201
            stoppable.stop()
            during = httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).json()["id"]
            for id_ in (before, during):
                refused = post_sale(service, id_, 210_000, id_)
                assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
                assert refused.json()["type"] == "urn:housepredict:problem:storage-unavailable"
            assert httpx2.get(f"{service.url}/accuracy").status_code == 503
            stoppable.start()
            caught_up(service)
            for id_ in (before, during, before, during):
                assert post_sale(service, id_, 210_000, id_).status_code == 201
            assert [each["price"] for each in get_json(service, f"/predictions/{before}/sale")["history"]] == [
                200_000,
                210_000,
            ]
            assert [each["price"] for each in get_json(service, f"/predictions/{during}/sale")["history"]] == [210_000]
