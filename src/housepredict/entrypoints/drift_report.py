"""What is said of drift: text for people, documents for programs."""

from __future__ import annotations

from typing import Any

from housepredict.domain.drift import FEWEST, Drift, Shift
from housepredict.entrypoints.terminal import table

_PSI_DIGITS = 4
_PERCENT_DIGITS = 2


def drift_document(drift: Drift) -> dict[str, Any]:
    """A drift as JSON."""
    return {
        "model_version": drift.model_version,
        "looked_at": drift.looked_at,
        "n": drift.n,
        "since": drift.since.isoformat() if drift.since else None,
        "out_of_range": _rounded(drift.out_of_range, _PERCENT_DIGITS),
        "estimates": _shift_document(drift.estimates),
        "features": {
            each.name: {
                **_shift_document(each.shift),
                "out_of_range": _rounded(each.out_of_range, _PERCENT_DIGITS),
            }
            for each in drift.features
        },
    }


def _shift_document(shift: Shift) -> dict[str, Any]:
    return {
        "psi": _rounded(shift.psi, _PSI_DIGITS),
        "chance": _rounded(shift.chance, _PSI_DIGITS),
        "movement": shift.movement,
        "bins": [
            {
                "bin": each.label,
                "expected": _rounded(each.expected, _PERCENT_DIGITS),
                "actual": _rounded(each.actual, _PERCENT_DIGITS),
            }
            for each in shift.bins
        ],
    }


def drift_text(drift: Drift) -> str:
    """A drift as a table, what moved most first."""
    rows = sorted(drift.features, key=lambda each: -(each.shift.psi or 0))
    columns = ("", "psi", "by chance", "movement", "out of range")
    lines = [("estimates", *_cells(drift.estimates), _percent(drift.out_of_range))]
    lines += [(each.name, *_cells(each.shift), _percent(each.out_of_range)) for each in rows]
    since = f", since {drift.since:%Y-%m-%d %H:%M:%S} UTC" if drift.since else ""
    said = [f"{drift.n} of the newest {drift.looked_at} estimates are by {drift.model_version}{since}."]
    if drift.n < FEWEST:
        said.append(f"Fewer than {FEWEST} say nothing of drift.")
    return "\n".join([*said, "", table(columns, lines)])


def _cells(shift: Shift) -> tuple[str, str, str]:
    return _number(shift.psi), _number(shift.chance), str(shift.movement)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
