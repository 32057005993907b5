"""A trained model depends only on the sales, the options and the seed."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.services import environment


def write_sales(path: Path) -> Path:
    """Write sales with every kind of feature, including dates."""
    draw = random.Random(1)
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["parcel_id", "sold", "price", "sqft", "rooms", "zip", "heating", "pool"])
        for row in range(400):
            sqft, pool, sold = draw.randint(600, 4000), draw.random() < 0.2, date(2024, 1, 1) + timedelta(row % 350)
            town, heating = draw.choice(["98101", "98102", "98103"]), draw.choice(["gas", "oil", "wood", ""])
            price = round(sqft * 150 + 40000 * pool + draw.gauss(0, 9000))
            rows.writerow([7000 + row * 13, sold, price, sqft, draw.randint(1, 6), town, heating, pool])
    return path


def trained(sales: Path, folder: Path, *options: str, hash_seed: str) -> tuple[dict[str, bytes], Any]:
    """Return the artifact's files, and the manifest without the version's name and creation time."""
    command = [sys.executable, "-m", "housepredict", "train", str(sales), "--data-dir", str(folder), *options]
    subprocess.run(command, env=environment(PYTHONHASHSEED=hash_seed), check=True, capture_output=True, timeout=600)
    files = {path.name: path.read_bytes() for path in folder.glob("models/versions/*/*")}
    manifest = json.loads(files.pop("manifest.json"))
    del manifest["name"], manifest["created_at"]
    return files, manifest


@pytest.mark.parametrize("algorithm", ["linear", "boosting"])
def test_training_does_not_depend_on_hash_seed(tmp_path: Path, algorithm: str) -> None:
    sales = write_sales(tmp_path / "sales.csv")
    first, second = (
        trained(sales, tmp_path / seed, "--effort", "low", "--algorithm", algorithm, hash_seed=seed)
        for seed in ("1", "2")
    )
    assert first == second
    files, manifest = first
    assert files.keys() == manifest["digests"].keys() >= {"serving.npz", "estimator.joblib"}
    assert manifest["evaluation"]["later"]
