"""What is told of trainings under way and over: text for people, documents for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from housepredict.domain.trainings import TrainingRecord
from housepredict.entrypoints.terminal import table


def training_record_document(record: TrainingRecord) -> dict[str, Any]:
    """A training as JSON."""
    outcome = record.outcome
    return {
        "id": str(record.id),
        "state": record.state,
        "started_at": record.started_at.isoformat(),
        "ended_at": record.ended_at.isoformat() if record.ended_at else None,
        "progress": {"done": record.done, "total": record.total},
        "source": record.location,
        "synthetic": record.synthetic,
        "with_recorded": record.with_recorded,
        "cancelling": record.cancelling,
        "model_version": outcome.version if outcome else None,
        "promoted": outcome.promoted if outcome and outcome.version else None,
        "reasons": outcome.reasons if outcome else (),
        "error": outcome.error if outcome else None,
    }


def trainings_text(records: Sequence[TrainingRecord]) -> str:
    """Trainings as a table, newest first."""
    if not records:
        return "Nothing was trained yet."
    rows = [
        (
            str(each.id),
            f"{each.started_at:%Y-%m-%d %H:%M:%S}",
            "cancelling" if each.cancelling and not each.outcome else each.state,
            f"{each.done}/{each.total}" if each.total else "",
            _sales(each),
            _result(each),
        )
        for each in records
    ]
    return table(("training", "began (UTC)", "state", "steps", "sales", "result"), rows, whole=("training",))


def _sales(record: TrainingRecord) -> str:
    if record.synthetic:
        return "synthetic"
    recorded = ["sales that came back"] if record.with_recorded else []
    return " and ".join(([PurePath(record.location).name] if record.location else []) + recorded)


def _result(record: TrainingRecord) -> str:
    if record.outcome is None:
        return ""
    if record.outcome.version is None:
        return record.outcome.error or ""
    return record.outcome.version + (", promoted" if record.outcome.promoted else "")
