"""What is said of the sales that came back, and of how far estimates were off: documents, and text for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from attrs import asdict

from housepredict.domain.estimates import LEVELS
from housepredict.domain.recorded_sales import ReturnedSale
from housepredict.domain.usecases import AccuracyReview, Measured
from housepredict.entrypoints.measures import MEASURES, OUT_OF_RANGE
from housepredict.entrypoints.terminal import table

_IN_THE_TABLE = ("mdape", "ppe10", "median_ratio", "cod", "prd", "prb")


def sale_document(returned: ReturnedSale) -> dict[str, Any]:
    """A sale as JSON, with what was estimated if that is known."""
    sale, prediction = returned.sale, returned.prediction
    return {
        "id": str(sale.id),
        "prediction": str(sale.prediction),
        "price": sale.price,
        "date": sale.sold_on.isoformat(),
        "recorded_at": sale.recorded_at.isoformat(),
        "status": "matched" if prediction else "unmatched",
        "estimate": prediction.price if prediction else None,
        "ratio": returned.ratio,
        "model_version": prediction.estimate.model_version if prediction else None,
    }


def sales_document(returned: Sequence[ReturnedSale]) -> dict[str, Any]:
    """Sales as JSON, and how many of them are unmatched."""
    return {"sales": [sale_document(each) for each in returned], "unmatched": unmatched(returned)}


def unmatched(returned: Sequence[ReturnedSale]) -> int:
    """How many are sales of predictions that nobody knows yet."""
    return sum(each.prediction is None for each in returned)


def sale_text(returned: ReturnedSale) -> str:
    """What was recorded, in a line."""
    said = f"Recorded: sold on {returned.sale.sold_on} for {returned.sale.price:,.2f}"
    if returned.prediction is None:
        return f"{said}. No such prediction is known yet; it counts once there is one."
    return f"{said}, estimated at {returned.prediction.price:,.2f} (ratio {returned.ratio:.3f})."


def sales_text(returned: Sequence[ReturnedSale]) -> str:
    """How many were recorded, in a line."""
    waiting = unmatched(returned)
    more = f"; {_sales(waiting)} of predictions that are not known yet, which count once they are" if waiting else ""
    return f"Recorded {_sales(len(returned))}{more}."


def accuracy_document(review: AccuracyReview, since: date | None, until: date | None) -> dict[str, Any]:
    """A review as JSON: the measures as numbers, null where one is not defined."""
    returned = review.returned
    return {
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "sales": returned.sales,
        "unmatched": returned.unmatched,
        "too_late": returned.too_late,
        "cut_off": returned.cut_off,
        "whole": _measured_document(review.whole) if review.whole else None,
        "by_version": {name: _measured_document(each) for name, each in review.by_version.items()},
    }


def _measured_document(measured: Measured) -> dict[str, Any]:
    return {
        **asdict(measured.accuracy),
        "bounds": {name: asdict(each) for name, each in measured.bounds.items()},
        "coverage": [asdict(each) for each in measured.coverage],
        "out_of_range": measured.out_of_range,
    }


def accuracy_text(review: AccuracyReview) -> str:
    """A review as a table by model version, with what was left out below."""
    returned, lines = review.returned, []
    if review.whole:
        measures = [each for name in _IN_THE_TABLE for each in MEASURES if each.field == name]
        header = (
            "version",
            "sales",
            *(each.title for each in measures),
            *(f"in {level} %" for level in LEVELS),
            OUT_OF_RANGE,
        )
        measured = [*review.by_version.items(), ("all", review.whole)]
        rows = [(name, str(each.accuracy.n), *_cells(each)) for name, each in measured]
        lines.append(table(header, rows, whole=("version",)))
    else:
        lines.append("No sale that came back can be measured yet.")
    if returned.unmatched:
        lines.append(f"{_sales(returned.unmatched)} left out: no such prediction is known yet.")
    if returned.too_late:
        late = _sales(returned.too_late)
        lines.append(f"{late} left out: the estimate was made on the day of the sale or after it.")
    if returned.cut_off:
        lines.append(f"Only the latest {returned.sales} sales were looked at.")
    return "\n".join(lines)


def _sales(count: int) -> str:
    return "1 sale" if count == 1 else f"{count} sales"


def _cells(measured: Measured) -> Sequence[str]:
    measures = [each for name in _IN_THE_TABLE for each in MEASURES if each.field == name]
    values = [(getattr(measured.accuracy, each.field), each) for each in measures]
    shares = {each.level: each.share for each in measured.coverage}
    return (
        *("-" if value is None else f"{value:,.{each.digits}f}{each.unit}" for value, each in values),
        *(f"{shares[level]:.1f} %" if level in shares else "-" for level in LEVELS),
        ", ".join(measured.out_of_range),
    )
