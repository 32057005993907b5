"""`POST /train`: retraining and access control."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.http_service import (
    LAB_HOUSE,
    FakeSales,
    FakeTrainer,
    application,
    assert_problem,
    lab_version,
    served,
    trainable,
)

TOKEN = "an-example-of-a-token"


def test_retraining_uses_original_sales_and_serves_new_version() -> None:
    trainer, read_from = FakeTrainer(), list[str | None]()

    def sales_at(location: str | None) -> FakeSales:
        read_from.append(location)
        return FakeSales(location)

    with served(trainable(application(lab_version()), trainer, sales_at)) as client:
        answer = client.post("/train")
        assert answer.status_code == 200
        document = answer.json()
        assert document["message"] == "Model retrained successfully"
        assert document["promoted"] is True
        assert "smaller in 100.0% of the resamples" in document["reasons"][0]
        assert document["evaluation"]["trained_on"] == len(trainer.seen) == 32
        assert document["evaluation"]["held_out"] == 8
        assert isinstance(document["evaluation"]["mdape"], float)
        assert read_from == ["/sales.csv"]
        assert document["model_version"] != "lab"
        assert client.post("/predict", json=LAB_HOUSE).json()["model_version"] == document["model_version"]


def test_concurrent_training_is_rejected_while_estimates_continue() -> None:
    may_end = Event()
    trainer = FakeTrainer(may_end=may_end)
    with served(trainable(application(lab_version()), trainer)) as client, ThreadPoolExecutor(1) as elsewhere:
        first = elsewhere.submit(client.post, "/train")
        assert trainer.began.wait(10)
        second = client.post("/train")
        third = client.post("/train?effort=low")
        estimate = client.post("/predict", json=LAB_HOUSE)
        may_end.set()
        assert first.result().status_code == 200
    assert_problem(second, 409, "training-in-progress")
    assert_problem(third, 422, "invalid-query")  # waiting would not help
    assert second.headers["Retry-After"].isdecimal()
    assert estimate.json()["model_version"] == "lab"


OPEN = [
    ("127.0.0.1", "localhost:5000", {}),
    ("127.0.0.1", "LOCALHOST", {}),
    ("127.0.0.1", "127.0.0.1:5000", {}),
    ("127.8.8.8", "127.8.8.8", {}),
    ("::1", "[::1]:5000", {}),
    ("::ffff:127.0.0.1", "127.0.0.1:5000", {}),
    ("127.0.0.1", "localhost:5000", {"Origin": "http://localhost:5000"}),
    ("127.0.0.1", "localhost:5000", {"Sec-Fetch-Site": "same-origin"}),
    ("127.0.0.1", "localhost:5000", {"Sec-Fetch-Site": "none"}),
]
CLOSED = [
    ("192.168.1.5", "localhost:5000", {}),
    ("10.0.0.1", "10.0.0.2:5000", {}),
    ("::ffff:10.0.0.1", "localhost:5000", {}),
    ("2001:db8::1", "[::1]:5000", {}),
    ("testclient", "localhost:5000", {}),
    ("", "localhost:5000", {}),
    ("127.0.0.1", "prices.example", {}),
    ("127.0.0.1", "localhost.example:5000", {}),
    ("127.0.0.1", "127.0.0.1.example", {}),
    ("127.0.0.1", "me@localhost", {}),
    ("127.0.0.1", "localhost:5000/x", {}),
    ("127.0.0.1", "0.0.0.0:5000", {}),
    ("127.0.0.1", "", {}),
    ("127.0.0.1", "localhost:5000", {"Origin": "http://evil.example"}),
    ("127.0.0.1", "localhost:5000", {"Origin": "http://localhost:3000"}),
    ("127.0.0.1", "localhost:5000", {"Origin": "https://localhost:5000"}),
    ("127.0.0.1", "localhost:5000", {"Origin": "http://localhost:5000.evil.example"}),
    ("127.0.0.1", "localhost:5000", {"Origin": "null"}),
    ("127.0.0.1", "localhost:5000", {"Sec-Fetch-Site": "cross-site"}),
    ("127.0.0.1", "localhost:5000", {"Sec-Fetch-Site": "same-site"}),
    ("10.0.0.1", "localhost:5000", {"X-Forwarded-For": "127.0.0.1"}),
    ("127.0.0.1", "localhost:5000", {"X-Forwarded-For": "127.0.0.1"}),
    ("127.0.0.1", "localhost:5000", {"Forwarded": "for=127.0.0.1"}),
    ("127.0.0.1", "localhost:5000", {"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}),
]


@pytest.mark.parametrize(("peer", "host", "headers"), OPEN)
def test_train_without_token_is_open_to_loopback(peer: str, host: str, headers: Mapping[str, str]) -> None:
    with served(trainable(application(lab_version()), FakeTrainer()), peer=peer) as client:
        assert client.post("/train", headers={"Host": host, **headers}).status_code == 200


@pytest.mark.parametrize(("peer", "host", "headers"), CLOSED)
def test_train_without_token_is_closed_to_others(peer: str, host: str, headers: Mapping[str, str]) -> None:
    trainer = FakeTrainer()
    with served(trainable(application(lab_version()), trainer), peer=peer) as client:
        problem = assert_problem(client.post("/train", headers={"Host": host, **headers}), 403, "forbidden")
    assert "HOUSEPREDICT_TOKEN" in problem["detail"]
    assert not trainer.seen


def test_repeated_headers_are_judged_by_worst() -> None:
    with served(trainable(application(lab_version()), FakeTrainer())) as client:
        for name, values in {
            "Host": ("localhost:5000", "evil.example"),
            "Origin": ("http://localhost:5000", "http://evil.example"),
            "Sec-Fetch-Site": ("none", "cross-site"),
        }.items():
            headers = [("Host", "localhost:5000")] * (name != "Host") + [(name, each) for each in values]
            assert_problem(client.post("/train", headers=headers), 403, "forbidden")


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.7"])
def test_train_with_token_requires_it(peer: str, embedded: bool) -> None:
    trainer = FakeTrainer()
    made = trainable(application(lab_version(), token=TOKEN), trainer)
    with served(made, peer=peer, embedded=embedded, url="http://prices.example") as client:
        wrong = (
            "",
            "Bearer",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer \xff",
            "Bearer x y",
        )
        for value in wrong:
            answer = client.post("/train", headers=[(b"Authorization", value.encode("latin-1"))])
            problem = assert_problem(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert TOKEN not in str(problem)
        assert_problem(client.post("/train"), 401, "unauthorized")
        assert not trainer.seen
        assert client.post("/train", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


def test_estimating_and_reading_need_no_token() -> None:
    with served(application(lab_version(), token=TOKEN), peer="203.0.113.7", embedded=True) as client:
        assert client.post("/predict", json=LAB_HOUSE).status_code == 200
        assert client.get("/predictions").status_code == 200
