"""Drift of a trained model, measured on stored predictions."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import housepredict
from housepredict import NoSnapshot, TrainingOptions
from housepredict.domain.evaluation.drift import SNAPSHOT_FILE, Movement
from housepredict.domain.training_options import Algorithm
from housepredict.entrypoints.cli.main import main
from tests.docs.environment import ROOT

SALES = ROOT / "examples" / "saratoga_sales.csv"
QUICK = TrainingOptions(algorithm=Algorithm.LINEAR)


def sample_houses(count: int) -> list[dict[str, Any]]:
    with SALES.open(encoding="utf-8") as stream:
        rows = Random(1).sample(list(csv.DictReader(stream)), count)
    kinds: dict[str, Callable[[str], object]] = {
        "price": float,
        "living_area": float,
        "bathrooms": float,
        "lot_size": float,
        "fireplace": "True".__eq__,
    }
    houses: list[dict[str, Any]] = [
        {name: kinds.get(name, int)(row[name]) for name in row if row[name]} for row in rows
    ]
    for house in houses:
        del house["price"]
    return houses


def test_drift_is_detected_only_for_changed_houses(tmp_path: Path) -> None:
    houses = sample_houses(300)
    with housepredict.open(tmp_path, environment={}) as prices:
        prices.train(SALES, QUICK)
        prices.predict_many(houses)
        before = prices.drift()
        prices.predict_many([house | {"living_area": 2 * house["living_area"]} for house in houses * 2])
        after = prices.drift()
    assert before.n == before.examined == 300
    assert {each.shift.movement for each in before.features} == {before.estimates.movement} == {Movement.STABLE}
    moved = {each.name: each for each in after.features if each.shift.movement is not Movement.STABLE}
    assert moved.keys() == {"living_area"}
    assert moved["living_area"].shift.movement is Movement.DRIFTED
    assert moved["living_area"].out_of_range
    assert after.estimates.movement is Movement.DRIFTED


def test_drift_command_shows_drifted_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data-dir", str(tmp_path)]
    assert main(["train", str(SALES), "--algorithm", "linear", *where]) == 0
    capsys.readouterr()
    assert main(["drift", *where]) == 0
    few = capsys.readouterr().out
    assert few.startswith("Measured on 0 of the newest 0 predictions: those by ")
    assert "Too few to measure drift: at least 100 are needed." in few
    with housepredict.open(tmp_path, environment={}) as prices:
        prices.predict_many([house | {"age": house["age"] + 100} for house in sample_houses(200)])
    assert main(["drift", *where]) == 0
    report = capsys.readouterr().out
    assert report.startswith("Measured on 200 of the newest 200 predictions: those by ")
    # features are sorted by drift, after the estimates
    assert report.splitlines()[5].split()[0] == "age"
    assert report.splitlines()[5].split()[3] == "drifted"
    assert main(["drift", "--json", *where]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["features"]["age"]["movement"] == "drifted"
    assert document["features"]["bedrooms"]["movement"] == "stable"


def test_drift_needs_a_training_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with housepredict.open(tmp_path, environment={}) as prices:
        name = prices.train(SALES, QUICK).version.name
    folder = tmp_path / "models" / "versions" / name
    (folder / SNAPSHOT_FILE).unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["digests"][SNAPSHOT_FILE]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with housepredict.open(tmp_path, environment={}) as prices:
        assert prices.predict(sample_houses(1)[0]).price > 0
        with pytest.raises(NoSnapshot):
            prices.drift()
    assert main(["drift", "--data-dir", str(tmp_path)]) == 4
    assert "Retrain" in capsys.readouterr().err
