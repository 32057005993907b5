"""Fixtures that run the command line in this process and capture its output."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from housepredict.entrypoints.cli.main import main


class Outcome(NamedTuple):
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, parsed as JSON."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run housepredict in an empty directory with no settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".housepredict").mkdir()

    def run(*arguments: str) -> Outcome:
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(code, out, err)

    return run


@pytest.fixture
def sales(tmp_path: Path) -> str:
    """Write a small CSV file of sales in which two rows have no usable price."""
    draw = random.Random(1)
    with (tmp_path / "sales.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["parcel_id", "sold", "price", "sqft", "zip", "pool"])
        for row in range(200):
            sqft, pool = draw.randint(600, 4000), draw.random() < 0.2
            price = round(sqft * 150 + 40000 * pool + draw.gauss(0, 9000))
            month, town = row % 12 + 1, draw.choice(["98101", "98102"])
            rows.writerow([7000 + row * 13, f"2024-{month:02}-03", price, sqft, town, pool])
        rows.writerow([1, "2024-01-01", "", 1000, "98101", False])
        rows.writerow([2, "2024-01-01", "unknown", 1000, "98101", False])
    return "sales.csv"
