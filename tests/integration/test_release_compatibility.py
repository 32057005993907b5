"""Data stored by other releases: the first one, and a later one that stores more fields."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

import housepredict
from housepredict import Prices
from housepredict.adapters.documents import from_json, to_json
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.folder.training_log import DirectoryTrainings
from housepredict.adapters.guarded_stores import SignedModels
from housepredict.adapters.postgres.model_store import PostgresModels
from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.postgres.training_log import PostgresTrainings
from housepredict.adapters.sqlite.prediction_keys import SqliteKeys
from housepredict.adapters.sqlite.recorded_sales import SqliteSales
from housepredict.domain.errors import NewerModel, RefusedModel, UnknownTraining
from housepredict.domain.estimates import Prediction
from housepredict.domain.evaluation.drift import read_snapshot
from housepredict.domain.evaluation.held_out import read_held_out
from housepredict.domain.idempotency import Delivery
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import ModelStore
from housepredict.domain.sales import RecordedSale
from housepredict.domain.training_status import TrainingOutcome, TrainingState, TrainingStatus
from tests.releases import FIRST_RELEASE, NEW, manifest_for, newer_artifact, with_new_fields

KEY = bytes(range(32))
NAME = "20261130-094029-e24ff927"
HOUSE = {"size": 120, "bedrooms": 3, "area": "north", "pool": True}
PRICE = 293877.38
IDS = [UUID("01a22bd4-0a10-7407-9bc2-2fea53766785"), UUID("01a22bd4-0a1e-7331-ae03-1c2db03902fd")]
TRAININGS = [UUID("01a22bd3-ec63-72d0-99e3-2367c5bd74cb"), UUID("01a22bd3-8a06-740c-855c-3febfb0ad6fc")]
SALE = RecordedSale(
    UUID("018f0000-0000-7000-8000-000000000002"), IDS[0], 299000.5, date(2025, 6, 3), datetime(2025, 7, 1, tzinfo=UTC)
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the data directory of the first release."""
    folder = tmp_path / "data"
    shutil.copytree(FIRST_RELEASE / "models", folder / "models")
    for name in ("predictions", "sales", "keys"):
        with sqlite3.connect(folder / f"{name}.sqlite") as connection:
            connection.executescript((FIRST_RELEASE / f"{name}.sql").read_text(encoding="utf-8"))
        connection.close()
    return folder


def opened(folder: Path, **variables: str) -> Prices:
    return housepredict.open(folder, environment={"HOUSEPREDICT_SIGNING_KEY": KEY.hex(), **variables})


def edit(file: Path, **changes: Any) -> Any:
    document = json.loads(file.read_bytes()) | changes
    file.write_text(json.dumps(document))
    return document


def next_release(folder: Path, store: ModelStore) -> ModelVersion:
    """Sign and add the version like a newer release that stores more fields."""
    original = DirectoryModels(folder / "models")
    document = json.loads(to_json(original.get(NAME)[0]))
    artifact = newer_artifact(original.get(NAME)[1])
    newer = manifest_for(with_new_fields(ModelVersion, document), artifact) | {"name": "next", "signature": None}
    SignedModels(store, [KEY]).add(from_json(json.dumps(newer)), artifact)
    return from_json(json.dumps(newer))


def test_first_release_data_directory_serves(data: Path) -> None:
    with opened(data) as prices:
        version = prices.model
        assert (version.name, version.signature) == (NAME, None)
        explained = prices.predict(HOUSE, explain=True)
        assert explained.price == PRICE
        assert explained.explanation.contributions
        old = [prices.prediction(id_) for id_ in IDS]
        assert [each.price for each in old] == [PRICE, 544093.96]
        assert [warning.code for warning in old[1].estimate.warnings] == ["outside_observed_range", "unseen_category"]
        assert prices.drift().model_version == NAME
    _, artifact = DirectoryModels(data / "models").get(NAME)
    held_out, snapshot = read_held_out(artifact), read_snapshot(artifact)
    assert held_out
    assert held_out.of == len(held_out.sales) == version.evaluation.held_out
    assert snapshot
    assert list(snapshot.features) == ["size", "bedrooms", "area", "pool"]
    trainings = DirectoryTrainings(data / "models" / "trainings").recent(10)
    assert [(each.id, each.state) for each in trainings] == list(
        zip(TRAININGS, (TrainingState.FAILED, TrainingState.SUCCEEDED), strict=True)
    )
    with SqliteSales.open(data / "sales.sqlite") as sales:
        assert list(sales.current()) == [SALE]
    with SqliteKeys.open(data / "keys.sqlite") as keys:
        assert list(keys.find(Delivery("deed-1", "0" * 64)) or []) == IDS


def test_first_release_signature_verifies_in_every_copy(data: Path, postgres: str) -> None:
    folder = DirectoryModels(data / "models")
    server = ModelDatabase.at(postgres)
    database = PostgresModels(server)
    database.add(*folder.get(NAME))
    again = DirectoryModels(data / "again")
    again.add(*database.get(NAME))
    for store in folder, database, again:
        assert SignedModels(store, [KEY]).get(NAME)[0] == SignedModels(folder, [KEY]).get(NAME)[0]
    edit(data / "again" / "versions" / NAME / "manifest.json", irreproducible="because")
    with pytest.raises(RefusedModel, match="was modified"):
        SignedModels(again, [KEY]).get(NAME)
    server.close()


def test_newer_release_version_serves_and_verifies(data: Path, postgres: str) -> None:
    folder = DirectoryModels(data / "models")
    newer = next_release(data, folder)
    with opened(data) as prices:
        prices.promote("next")
        assert prices.predict(HOUSE, explain=True).price == PRICE
        assert prices.drift().model_version == "next"
        assert {each.name for each in prices.models()} == {NAME, "next"}
    held_out = read_held_out(folder.get("next")[1])
    assert held_out == read_held_out(folder.get(NAME)[1])
    server = ModelDatabase.at(postgres)
    database, again = PostgresModels(server), DirectoryModels(data / "again")
    database.add(*folder.get("next"))
    again.add(*database.get("next"))
    for store in folder, database, again:
        assert SignedModels(store, [KEY]).get("next")[0] == newer
    manifest = (data / "models" / "versions" / "next" / "manifest.json").read_text(encoding="utf-8")
    for copy in (
        (data / "again" / "versions" / "next" / "manifest.json").read_text(encoding="utf-8"),
        _manifest(postgres),
    ):
        assert json.loads(copy) == json.loads(manifest)
    with psycopg.connect(postgres, autocommit=True) as connection:
        changed = json.loads(manifest)
        changed["schema"]["features"][0]["of_a_newer_release"] = {**NEW, "c": 1e301}
        connection.execute("UPDATE model_versions SET manifest = %s", (json.dumps(changed),))
        with pytest.raises(RefusedModel, match="was modified"):
            SignedModels(database, [KEY]).get("next")
        connection.execute("UPDATE model_versions SET manifest = manifest::jsonb::text")  # jsonb sorts the keys
        with pytest.raises(RefusedModel, match="was modified"):
            SignedModels(database, [KEY]).get("next")
    server.close()


def _manifest(postgres: str) -> str:
    with psycopg.connect(postgres) as connection:
        [(manifest,)] = connection.execute("SELECT manifest FROM model_versions")
    return str(manifest)


def test_version_requiring_newer_release_is_rejected(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = DirectoryModels(data / "models")
    next_release(data, folder)
    file = data / "models" / "versions" / "next" / "manifest.json"
    for changes in ({"algorithm": "forest"}, {"format": 2}):
        before = file.read_text(encoding="utf-8")
        edit(file, **changes)
        with opened(data) as prices:
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                assert [each.name for each in prices.models()] == [NAME]
            assert "newer release of housepredict" in caplog.text
            with pytest.raises(NewerModel, match=r"made by a newer release of housepredict.*Upgrade"):
                prices.promote("next")
            assert prices.predict(HOUSE).price == PRICE
        file.write_text(before)


def test_newer_release_training_log_keeps_unknown_fields(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = DirectoryTrainings(data / "models" / "trainings")
    before = log.recent(10)
    running = TrainingStatus(UUID(int=2**127), datetime(2026, 12, 1, tzinfo=UTC), "/sales.csv")
    log.begin(running)
    for file in log.path.glob("*.json"):
        document = with_new_fields(TrainingStatus, json.loads(file.read_bytes()))
        file.write_text(json.dumps(document))
    assert list(log.recent(10)) == [running, *before]
    log.change(running.id, TrainingStatus.request_cancellation)
    failure = TrainingOutcome.failure("It failed.")
    log.change(running.id, lambda record: record.ended(datetime(2026, 12, 1, 1, tzinfo=UTC), failure))
    assert json.loads((log.path / f"{running.id}.json").read_bytes())["of_a_newer_release"] == NEW
    edit(log.path / f"{running.id}.json", outcome={"state": "paused"})
    with caplog.at_level(logging.WARNING):
        assert list(log.recent(10)) == before
    assert "newer release of housepredict" in caplog.text
    with pytest.raises(UnknownTraining, match="newer release of housepredict"):
        log.get(running.id)


@pytest.fixture
def database(postgres: str) -> str:
    """Return a database with rows of the first release in tables with columns of a newer one."""
    PostgresPredictions.open(postgres).close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        for line in (FIRST_RELEASE / "postgres-rows.jsonl").read_text(encoding="utf-8").splitlines():
            document = json.loads(line)
            table = sql.Identifier(document["table"])
            connection.execute(
                sql.SQL("INSERT INTO {} SELECT * FROM json_populate_record(NULL::{}, %s)").format(table, table),
                (json.dumps(document["row"]),),
            )
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND"
            " table_name NOT LIKE '%yoyo%'"
        ).fetchall()
        for (name,) in names:
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN of_a_newer_release jsonb NOT NULL DEFAULT '{{}}'").format(
                    sql.Identifier(name)
                )
            )
    return postgres


def test_first_and_newer_release_rows_are_read(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with psycopg.connect(database, autocommit=True) as connection, PostgresPredictions.open(database) as predictions:
        before = predictions.find(IDS)
        assert [each.price for each in before] == [PRICE, 544093.96]
        connection.execute(
            "UPDATE predictions SET caveats = (SELECT coalesce(jsonb_agg(each || '{\"new\": [1]}'), '[]')"
            " FROM jsonb_array_elements(caveats) AS each)"
        )
        assert list(predictions.find(IDS)) == list(before)
        predictions.append([Prediction(UUID(int=1), before[0].created_at, before[0].estimate)])
        server = ModelDatabase.at(database)
        log = PostgresTrainings(server)
        assert [each.id for each in log.recent(10)] == TRAININGS
        connection.execute("ALTER TABLE trainings DROP CONSTRAINT IF EXISTS trainings_state_check")
        connection.execute("UPDATE trainings SET state = 'paused' WHERE id = %s", (TRAININGS[0],))
        with caplog.at_level(logging.WARNING):
            assert [each.id for each in log.recent(10)] == TRAININGS[1:]
        assert "newer release of housepredict" in caplog.text
        with pytest.raises(UnknownTraining, match="newer release of housepredict"):
            log.get(TRAININGS[0])
        server.close()
