"""The records in the SQLite files of a data folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from campaign.history import Stored
from campaign.recorded_sales import StoredSale


def stored(folder: Path) -> list[Stored]:
    """Read the predictions in a data folder, without erased ones."""
    rows = _rows(
        folder / "predictions.sqlite",
        "SELECT id, features ->> '$.size', price_cents / 100.0, model_version FROM predictions"
        " WHERE erased_at IS NULL ORDER BY id",
    )
    return [Stored(*row) for row in rows]


def stored_sales(folder: Path) -> list[StoredSale]:
    """Read the sales in a data folder."""
    rows = _rows(folder / "sales.sqlite", "SELECT id, prediction, price_cents / 100.0 FROM sales ORDER BY id")
    return [StoredSale(*row) for row in rows]


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()
