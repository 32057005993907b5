"""Training on uploaded sales with options, and on recorded sales."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve
from starlette.testclient import TestClient
from starlette.types import Message

from housepredict.domain.features import Kind
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from housepredict.entrypoints.composition import Application, sales_at
from housepredict.entrypoints.http.app import asgi_app
from tests.http_service import (
    FakeTrainer,
    application,
    assert_problem,
    broken,
    lab_version,
    served,
    trainable,
)
from tests.training import FaultyModels

CSV = {"Content-Type": "text/csv"}
ROWS = "\n".join(f"{100 * row},{row % 4},{15_000 * row}" for row in range(1, 60))
SALES = f"size,rooms,price\n{ROWS}\n".encode()


@contextmanager
def receiving(folder: Path, trainer: FakeTrainer | None = None, **settings: Any) -> Iterator[TestClient]:
    """Serve an application that stores its uploads in a folder."""
    with served(sending(folder, trainer, **settings)) as client:
        yield client


def sending(folder: Path, trainer: FakeTrainer | None = None, **settings: Any) -> Application:
    made = trainable(application(lab_version(), **settings), trainer or FakeTrainer(), sales_at)
    made.settings = evolve(made.settings, data_dir=folder)
    return made


def stored_uploads(folder: Path) -> list[Path]:
    return sorted((folder / "uploads").iterdir())


class TestUploadedSales:
    def test_upload_is_stored_as_source_of_version(self, tmp_path: Path) -> None:
        trainer = FakeTrainer()
        with receiving(tmp_path, trainer) as client:
            answer = client.post("/train?promote=always", content=SALES, headers=CSV)
            assert answer.status_code == 200, answer.text
            assert answer.json()["promoted"] is True
            assert client.get("/health").json()["model_version"] == answer.json()["model_version"]
            record = client.get("/trainings").json()["trainings"][0]
        (file,) = stored_uploads(tmp_path)
        assert file.read_bytes() == SALES
        assert record["source"] == str(file)
        assert file.suffix == ".csv"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        assert len(trainer.seen) == answer.json()["evaluation"]["trained_on"]

    @pytest.mark.parametrize(
        ("headers", "suffix"),
        [
            ({"Content-Type": "application/gzip"}, ".csv.gz"),
            ({"Content-Type": "text/csv; charset=utf-8", "Content-Encoding": "gzip"}, ".csv.gz"),
        ],
    )
    def test_upload_may_be_compressed(self, tmp_path: Path, headers: Mapping[str, str], suffix: str) -> None:
        with receiving(tmp_path) as client:
            assert client.post("/train", content=gzip.compress(SALES), headers=headers).status_code == 200
        (file,) = stored_uploads(tmp_path)
        assert file.name.endswith(suffix)

    def test_upload_with_other_features_is_not_promoted(self, tmp_path: Path) -> None:
        with receiving(tmp_path) as client:
            answer = client.post("/train", content=SALES, headers=CSV).json()
            assert (answer["promoted"], "different features" in answer["reasons"][0]) == (False, True)
            assert client.get("/health").json()["model_version"] == "lab"
        assert len(stored_uploads(tmp_path)) == 1

    @pytest.mark.parametrize(("per_area", "promoted"), [(150.0, True), (600.0, False)])
    def test_first_version_is_promoted_if_above_floors(self, tmp_path: Path, per_area: float, promoted: bool) -> None:
        made = trainable(application(), FakeTrainer(per_area=per_area), sales_at)
        made.settings = evolve(made.settings, data_dir=tmp_path)
        rows = "\n".join(
            f"{1000 + 10 * row},{row % 4},{(140 + row % 3 * 10) * (1000 + 10 * row)}" for row in range(300)
        )
        sales = f"size,rooms,price\n{rows}\n".encode()
        with served(made) as client:
            answer = client.post("/train", content=sales, headers=CSV)
            assert answer.status_code == 200, answer.text
            document = answer.json()
            assert document["message"] == "Model retrained successfully"
            assert document["promoted"] is promoted
            assert document["model_version"] in client.get("/models").text
            record = client.get("/trainings").json()["trainings"][0]
            assert (record["promoted"], record["reasons"]) == (promoted, document["reasons"])
            assert client.get("/health/ready").status_code == (200 if promoted else 503)
            if not promoted:
                assert "Mean error: 30" in document["reasons"][1]
                assert "train with the policy `always`" in document["reasons"][-1]

    def test_policy_always_overrides_floors(self, tmp_path: Path) -> None:
        made = trainable(application(), FakeTrainer(per_area=600.0), sales_at)
        made.settings = evolve(made.settings, data_dir=tmp_path)
        with served(made) as client:
            answer = client.post("/train?promote=always", content=SALES, headers=CSV)
            assert answer.json()["promoted"] is True
            assert client.get("/health/ready").status_code == 200

    def test_unusable_upload_is_removed(self, tmp_path: Path) -> None:
        with receiving(tmp_path) as client:
            assert_problem(client.post("/train", content=b"a,b\n1,2\n", headers=CSV), 409, "unusable-sales")
            assert_problem(client.post("/train", content=b"", headers=CSV), 409, "unusable-sales")
        assert stored_uploads(tmp_path) == []

    def test_upload_is_kept_if_promotion_fails(self, tmp_path: Path) -> None:
        made = application()
        made.settings = evolve(made.settings, data_dir=tmp_path)
        made.storage.models = FaultyModels(fails_at="promote")
        with served(trainable(made, FakeTrainer(), sales_at)) as client:
            answer = client.post("/train?promote=always", content=SALES, headers=CSV)
            assert_problem(answer, 503, "model-store-unavailable")
            [version] = client.get("/models").json()["models"]
        [file] = stored_uploads(tmp_path)
        assert made.version(version["model_version"]).source.location == str(file)

    def test_upload_during_another_training_is_removed(self, tmp_path: Path) -> None:
        with receiving(tmp_path) as client:
            made: Application = client.app.state.service.running.application  # type: ignore[attr-defined]
            with made.models.training():
                assert_problem(client.post("/train", content=SALES, headers=CSV), 409, "training-in-progress")
        assert stored_uploads(tmp_path) == []

    def test_oversized_upload_is_rejected_and_removed(self, tmp_path: Path) -> None:
        def endless() -> Iterator[bytes]:
            for _ in range(4):
                yield b"x" * 1000

        with receiving(tmp_path, max_upload=3000) as client:
            for content in (b"x" * 3001, endless()):
                problem = assert_problem(client.post("/train", content=content, headers=CSV), 413, "body-too-large")
                assert "HOUSEPREDICT_MAX_UPLOAD" in problem["detail"]
        assert not (tmp_path / "uploads").exists() or stored_uploads(tmp_path) == []

    def test_stalled_upload_times_out_and_is_removed(self, tmp_path: Path) -> None:
        app = asgi_app(application=sending(tmp_path, client_timeout=0.05, token="t" * 16))
        parts, sent = [SALES], list[Message]()
        headers = [(b"content-type", b"text/csv"), (b"authorization", b"Bearer " + b"t" * 16)]

        async def receive() -> Message:
            if not parts:
                await anyio.sleep_forever()
            return {"type": "http.request", "body": parts.pop(), "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        async def call() -> None:
            scope = {"type": "http", "method": "POST", "path": "/train", "headers": headers, "query_string": b""}
            async with app.router.lifespan_context(app):
                await app(scope, receive, send)

        anyio.run(call)
        assert sent[0]["status"] == 408
        assert not (tmp_path / "uploads").exists() or stored_uploads(tmp_path) == []

    def test_parquet_without_extra_is_rejected(self, tmp_path: Path) -> None:
        made = sending(tmp_path)
        made.reads_parquet = False
        with served(made) as client:
            headers = {"Content-Type": "application/vnd.apache.parquet"}
            answer = client.post("/train", content=b"PAR1", headers=headers)
            assert (
                "`parquet`, which is not installed" in assert_problem(answer, 415, "unsupported-media-type")["detail"]
            )
            assert "parquet" not in answer.headers["Accept"]
        assert not (tmp_path / "uploads").exists()

    def test_disk_failure_is_storage_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with receiving(tmp_path / "file") as client:
            answer = client.post("/train", content=SALES, headers=CSV)
        assert str(tmp_path) not in assert_problem(answer, 503, "storage-unavailable")["detail"]


class TestOptions:
    def test_query_options_match_command_line(self, tmp_path: Path) -> None:
        trainer = FakeTrainer()
        query = (
            "price=price&feature=size&feature=rooms&exclude=colour&type=rooms=category&closed=rooms&allow=size"
            "&algorithm=ridge&effort=low&seed=7&time_limit=2.5&encoding=GBK&promote=never"
        )
        with receiving(tmp_path, trainer) as client:
            answer = client.post(f"/train?{query}", content=SALES.replace(b"price", b"price,colour", 1), headers=CSV)
            assert_problem(answer, 409, "unusable-sales")  # each row lacks a field
            sales = SALES.replace(b"\n", b",red\n").replace(b"price,red", b"price,colour")
            answer = client.post(f"/train?{query}", content=sales, headers=CSV)
        assert answer.json()["promoted"] is False
        assert "never" in answer.json()["reasons"][0]
        assert trainer.options == TrainingOptions(
            price="price",
            features=("size", "rooms"),
            exclude=("colour",),
            kinds={"rooms": Kind.CATEGORY},
            closed=("rooms",),
            allow=("size",),
            algorithm=Algorithm.RIDGE,
            effort=Effort.LOW,
            seed=7,
            time_limit=2.5,
            encoding="gbk",
        )

    @pytest.mark.parametrize(
        ("query", "charset", "encoding"),
        [("", "cp1251", "cp1251"), ("?encoding=gbk", "cp1251", "gbk"), ("", "utf-8", None)],
    )
    def test_body_charset_is_default_encoding(
        self, tmp_path: Path, query: str, charset: str, encoding: str | None
    ) -> None:
        trainer = FakeTrainer()
        with receiving(tmp_path, trainer) as client:
            answer = client.post(
                f"/train{query}", content=SALES, headers={"Content-Type": f"text/csv; charset={charset}"}
            )
        assert answer.status_code == 200
        assert trainer.options is not None
        assert trainer.options.encoding == encoding

    def test_invalid_options_are_all_named(self, tmp_path: Path) -> None:
        query = (
            "price=a&price=b&sale_date=&feature=%00&type=x&type=y=colour&type=a=number&type=a=date&algorithm=magic"
            "&effort=all&seed=-1&time_limit=0&promote=maybe&hurry=1&seed=99999999999&time_limit=inf&encoding=x"
        )
        with receiving(tmp_path) as client:
            problem = assert_problem(client.post(f"/train?{query}", content=SALES, headers=CSV), 422, "invalid-query")
        assert broken(problem) == [
            ("/price", "duplicate"),
            ("/sale_date", "type"),
            ("/feature", "type"),
            ("/type", "type"),
            ("/type", "type"),
            ("/algorithm", "type"),
            ("/effort", "type"),
            ("/seed", "type"),
            ("/time_limit", "type"),
            ("/promote", "type"),
            ("/hurry", "unknown"),
            ("/seed", "type"),
            ("/seed", "duplicate"),
            ("/time_limit", "type"),
            ("/time_limit", "duplicate"),
            ("/encoding", "type"),
            ("/type", "duplicate"),
        ]
        assert not (tmp_path / "uploads").exists()

    def test_guessed_encoding_and_rejected_rows_are_reported(self, tmp_path: Path) -> None:
        rows = b"".join(b"%d,%d,Z\xfcrich\n" % (100 * row, 15_000 * row) for row in range(1, 60))
        with receiving(tmp_path) as client:
            made = client.post("/train", content=b"size,price,town\n" + rows + b"100,,Basel\n1,2\n", headers=CSV)
            assert made.status_code == 200, made.text
            version = client.get(f"/models/{made.json()['model_version']}").json()
        guess, ragged = made.json()["notes"]
        assert guess == "read as Windows-1252 (guessed; set `encoding` to overrule)"
        assert ragged.endswith("line 62 has 2")
        rejected = {"number of fields differs from the header": 1, "price: missing or not a number": 1}
        assert made.json()["rejected_rows"] == version["rejected_rows"] == rejected
        assert made.json()["notes"] == version["notes"]


class TestRecordedSales:
    def test_recorded_sales_are_trained_on_if_requested(self) -> None:
        made = trainable(application(lab_version()), FakeTrainer())
        houses = [{"size": 1000 + 100 * row, "bedrooms": 1 + row % 5, "age": row} for row in range(40)]
        with served(made) as client:
            estimates = client.post("/predict", json=houses).json()["predictions"]
            day = str(datetime.now(UTC).date())
            sales = [
                {"prediction": each["id"], "price": 100 * each["input"]["size"], "date": day} for each in estimates
            ]
            assert client.post("/sales", json=sales).status_code == 201
            answer = client.post("/train?from_sales=true")
            assert answer.status_code == 200, answer.text
            (record,) = client.get("/trainings").json()["trainings"]
        assert made.models.get(answer.json()["model_version"])[0].source.recorded == 40
        assert (record["source"], record["with_recorded"], record["synthetic"]) == (None, True, False)

    def test_recorded_sales_are_added_to_upload(self, tmp_path: Path) -> None:
        made = sending(tmp_path)
        with served(made) as client:
            answer = client.post("/train?from_sales=true", content=SALES, headers=CSV)
        source = made.models.get(answer.json()["model_version"])[0].source
        assert (source.location, source.recorded) == (str(stored_uploads(tmp_path)[0]), 0)
