"""The commands for sales that come back: `housepredict sale | sales | accuracy`."""

from __future__ import annotations

import argparse
import hashlib
from datetime import date
from pathlib import Path
from typing import Any

from housepredict.domain.errors import UnusableSales
from housepredict.entrypoints.answers import AccuracyAnswer, RecordedSaleAnswer, RecordedSalesAnswer
from housepredict.entrypoints.cli.terminal import answer
from housepredict.entrypoints.cli.texts import accuracy_text, sale_text, sales_text
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.csv_tables import number_or_text, sales_of_csv
from housepredict.entrypoints.json_documents import document


def record_sale(application: Application, options: argparse.Namespace) -> int:
    """Record one sale."""
    given = {"prediction": options.prediction, "price": number_or_text(options.price), "date": options.date}
    returned = application.record_sales.one(given)
    return answer(options, document(returned, RecordedSaleAnswer), sale_text(returned))


def record_file(application: Application, options: argparse.Namespace) -> int:
    """Record the sales of a file, all or none; again if the file is given again, none."""
    try:
        content = options.sales.read_bytes()
    except OSError as error:
        raise UnusableSales(f"{options.sales} cannot be read: {error.strerror}") from error
    key = f"file:{hashlib.sha256(content).hexdigest()}"
    returned = application.record_sales.any_number(sales_of_csv(content), key)
    return answer(options, document(returned, RecordedSalesAnswer), sales_text(returned))


def review_accuracy(application: Application, options: argparse.Namespace) -> int:
    """Measure estimates by the sales that came back."""
    review = application.review_accuracy(options.since, options.until)
    measured = document(review, AccuracyAnswer, since=options.since, until=options.until)
    return answer(options, measured, accuracy_text(review))


def add_sales_commands(add: Any, as_json: argparse.ArgumentParser) -> None:
    """Their options; `add` makes a command of a name, what it is about, and a parser to inherit from."""
    sale = add("sale", "Record what a house sold for that was estimated.", as_json)
    sale.add_argument("prediction", metavar="ID", help="the id of the prediction, as `housepredict predictions` has it")
    sale.add_argument("--price", required=True, metavar="PRICE", help="what it sold for, in the currency of the models")
    sale.add_argument("--date", required=True, metavar="YYYY-MM-DD", help="the day of the sale")

    sales = add(
        "sales", "Record the sales of a file, all or none; nothing is recorded twice if it runs again.", as_json
    )
    sales.add_argument("sales", type=Path, metavar="SALES", help="a CSV file with the columns prediction, price, date")

    accuracy = add("accuracy", "Measure the estimates by the sales that came back, by model version.", as_json)
    accuracy.add_argument("--since", type=day, metavar="YYYY-MM-DD", help="only what was sold on this day or later")
    accuracy.add_argument("--until", type=day, metavar="YYYY-MM-DD", help="only what was sold on this day or earlier")


def day(text: str) -> date:
    """A day on the command line."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date of the form YYYY-MM-DD") from None
