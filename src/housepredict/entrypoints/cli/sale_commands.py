"""The commands for realized sales: `housepredict sale | sales | accuracy`."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from housepredict.domain.errors import UnusableSales
from housepredict.domain.estimates import LEVELS
from housepredict.domain.features import Kind
from housepredict.domain.sales import RealizedSale
from housepredict.domain.schema_inference.columns import value_reader
from housepredict.domain.usecases.review import AccuracyReview, Measured
from housepredict.entrypoints.answers import AccuracyAnswer, RecordedSaleAnswer, RecordedSalesAnswer, unmatched
from housepredict.entrypoints.cli.terminal import Commands, add_period, answer, number, table
from housepredict.entrypoints.composition import Application, read_sales_csv
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.measure_labels import MEASURES, OUT_OF_RANGE, counted

_FIELDS = ("mdape", "ppe10", "median_ratio", "cod", "prd", "prb")
_MEASURES = [measure for measure in MEASURES if measure.field in _FIELDS]


def add_sale_commands(commands: Commands) -> None:
    """Add the commands for realized sales."""
    sale = commands.add("sale", "Record what an estimated house sold for", _record_sale)
    about = "id of the prediction, as listed by `housepredict predictions`"
    sale.add_argument("prediction", metavar="ID", help=about)
    sale.add_argument("--price", required=True, metavar="PRICE", help="sale price, in the currency of the estimate")
    sale.add_argument("--date", required=True, metavar="YYYY-MM-DD", help="day of the sale")

    about = "Import sales from a CSV file (all or nothing)"
    sales = commands.add("sales", about, _record_sales)
    about = "CSV file with the columns prediction, price and date; importing it again changes nothing"
    sales.add_argument("sales", type=Path, metavar="SALES", help=about)

    about = "Measure estimates against recorded sales, by model version"
    add_period(commands.add("accuracy", about, _review_accuracy), "houses sold")


def _record_sale(application: Application, options: argparse.Namespace) -> int:
    price = value_reader(Kind.NUMBER, {options.price: 1}, money=True)(options.price)
    sale = {"prediction": options.prediction, "price": price, "date": options.date}
    realized = application.record_sales.one(sale)
    return answer(options, document(realized, RecordedSaleAnswer), _sale_text(realized))


def _sale_text(realized: RealizedSale) -> str:
    sale = f"Recorded a sale on {realized.sale.sold_on} for {realized.sale.price:,.2f}"
    if realized.prediction is None:
        return f"{sale}. The prediction id is unknown: the sale counts once that prediction is stored."
    return f"{sale}; the estimate was {realized.prediction.price:,.2f} (ratio {realized.ratio:.3f})."


def _record_sales(application: Application, options: argparse.Namespace) -> int:
    """Record all sales in a file, or none of them. Recording the same file again changes nothing."""
    try:
        content = options.sales.read_bytes()
    except OSError as error:
        raise UnusableSales(f"cannot read {options.sales}: {error.strerror}") from error
    key = f"file:{hashlib.sha256(content).hexdigest()}"
    realized = application.record_sales.any_number(read_sales_csv(content), key)
    text = f"Recorded {counted(len(realized), 'sale')}."
    if unknown := unmatched(realized):
        text += f" Not matched yet: {counted(unknown, 'sale')} with an unknown prediction id."
    return answer(options, document(realized, RecordedSalesAnswer), text)


def _review_accuracy(application: Application, options: argparse.Namespace) -> int:
    review = application.review_accuracy(options.since, options.until)
    return answer(
        options, document(review, AccuracyAnswer, since=options.since, until=options.until), accuracy_text(review)
    )


def accuracy_text(review: AccuracyReview) -> str:
    """Format an accuracy review as a table by model version, followed by the numbers of skipped sales."""
    realized = review.returned
    if review.overall:
        titles = [measure.title for measure in _MEASURES]
        header = ("version", "sales", *titles, *(f"{level}% coverage" for level in LEVELS), OUT_OF_RANGE)
        rows = [_accuracy_row(name, measured) for name, measured in review.by_version.items()]
        lines = [table(header, [*rows, _accuracy_row("all", review.overall)], unwrapped=("version",))]
    else:
        lines = ["No recorded sales to measure yet."]
    if realized.unmatched:
        lines.append(f"{counted(realized.unmatched, 'sale')} skipped: unknown prediction id")
    if realized.estimated_after_sale:
        lines.append(f"{counted(realized.estimated_after_sale, 'sale')} skipped: not estimated before the day of sale")
    if realized.truncated:
        lines.append(f"Measured only the latest {counted(realized.sales, 'sale')}.")
    return "\n".join(lines)


def _accuracy_row(name: str, measured: Measured) -> Sequence[str]:
    shares = {coverage.level: coverage.share for coverage in measured.coverage}
    return (
        name,
        f"{measured.accuracy.n:,}",
        *(number(getattr(measured.accuracy, measure.field), measure.digits, measure.unit) for measure in _MEASURES),
        *(number(shares.get(level), 1, "%") for level in LEVELS),
        ", ".join(measured.out_of_range),
    )
