"""The records of a service without PostgreSQL, read from its files with SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from campaign.history import Stored

_PREDICTIONS = """
SELECT id, json_extract(features, '$.size'), price_cents / 100.0, model_version
FROM predictions WHERE erased_at IS NULL ORDER BY id
"""
_SALES = "SELECT prediction, price_cents / 100.0 FROM sales ORDER BY id"


def predictions(data: Path) -> list[Stored]:
    """Read the predictions in a data folder, without erased ones."""
    return [Stored(*row) for row in _rows(data / "predictions.sqlite", _PREDICTIONS)]


def sales(data: Path) -> list[tuple[str, float]]:
    """Read the sales in a data folder: the id of the prediction and the price of each."""
    return [(prediction, price) for prediction, price in _rows(data / "sales.sqlite", _SALES)]


def _rows(file: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()
