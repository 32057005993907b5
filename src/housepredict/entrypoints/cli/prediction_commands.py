"""The commands for predictions that are remembered: `housepredict predictions show | export | erase | prune`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from attrs import asdict

from housepredict.domain.errors import InvalidSettings
from housepredict.domain.usecases.estimate_table import EstimatedTable
from housepredict.domain.usecases.manage_records import Removed
from housepredict.entrypoints.answer_documents import prediction_document
from housepredict.entrypoints.cli.sale_commands import day
from housepredict.entrypoints.cli.terminal import answer, print_json, progress_bar
from housepredict.entrypoints.cli.texts import prediction_text
from housepredict.entrypoints.composition import Application, ending_of, houses_at, prices_at, text_at
from housepredict.entrypoints.csv_tables import write_csv, write_lines

_SHOWN = 20  # refused rows


def predict_file(application: Application, options: argparse.Namespace) -> int:
    """Estimate the houses of a file; 3 if there are some that break rules."""
    problems = []
    if len(options.houses) > 1:
        problems.append(f"-o is for the houses of one file, not {len(options.houses)}")
    if options.explain:
        problems.append("--explain is for one house, not for a file")
    if options.json and options.output == "-":
        problems.append("--json and -o - exclude each other: both write to standard output")
    if problems:
        raise InvalidSettings(problems)
    output = None if options.output == "-" else Path(options.output)
    with prices_at(output) as prices, progress_bar(sys.stderr, "estimating") as progress:
        table = application.estimate_table(houses_at(Path(options.houses[0]), options.encoding), prices, progress)
    for note in table.notes:
        print(f"housepredict: {options.houses[0]}: {note}", file=sys.stderr)
    for refusal in table.refusals[:_SHOWN]:
        said = "; ".join(each.describe() for each in refusal.violations)
        print(f"housepredict: row {refusal.row}: {said}", file=sys.stderr)
    print(_text(table), file=sys.stderr)
    if options.json:
        print_json(_document(table))
    return 3 if table.refused else 0


def _text(table: EstimatedTable) -> str:
    refused = f"; refused {table.refused:,}, as the column error says" if table.refused else ""
    return f"housepredict: estimated {table.estimated:,} houses by version {table.model_version}{refused}"


def _document(table: EstimatedTable) -> dict[str, Any]:
    return {
        "model_version": table.model_version,
        "estimated": table.estimated,
        "refused": table.refused,
        "notes": table.notes,
        "refusals": [
            {"row": each.row, "violations": [violation.describe() for violation in each.violations]}
            for each in table.refusals
        ],
    }


def show(application: Application, options: argparse.Namespace) -> int:
    """Show one prediction."""
    prediction = application.records.one(options.prediction)
    return answer(options, prediction_document(prediction), prediction_text(prediction))


def export(application: Application, options: argparse.Namespace) -> int:
    """Write what was estimated to a file."""
    path = None if options.output == "-" else Path(options.output)
    ending = ending_of(path, ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")
    # before it is read: what is estimated meanwhile is none of it
    until = _midnight(options.until + timedelta(days=1)) if options.until else datetime.now(UTC)
    read = partial(application.records.between, _midnight(options.since) if options.since else None, until)
    with text_at(path) as stream:
        count = write_csv(read, stream) if ending.startswith(".csv") else write_lines(read(), stream)
    print(f"housepredict: exported {count:,} predictions", file=sys.stderr)
    return 0


def erase(application: Application, options: argparse.Namespace) -> int:
    """Forget some predictions, and their sales."""
    forgotten = application.records.erase(options.predictions)
    unknown = len({*options.predictions}) - forgotten.predictions
    later = f" {unknown:,} not known here, and never to be recorded from now on." if unknown else ""
    return answer(options, asdict(forgotten), f"Erased {_counted(forgotten)}.{later}")


def prune(application: Application, options: argparse.Namespace) -> int:
    """Forget old predictions, and their sales."""
    keep = application.settings.keep
    if keep is None:
        raise InvalidSettings(["prune needs --keep, such as --keep 400d, or HOUSEPREDICT_KEEP"])
    forgotten = application.records.prune(timedelta(days=keep))
    return answer(options, asdict(forgotten), f"Forgot {_counted(forgotten)}, older than {keep:,} days.")


def add_record_commands(add: Any, as_json: argparse.ArgumentParser) -> None:
    """Their options; `add` makes a command of a name, what it is about, and a parser to inherit from."""
    export = add("export", "Write what was estimated to a file, oldest first.")
    export.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="a .csv or .jsonl file, also with .gz, or - for JSON lines",
    )
    export.add_argument("--since", type=day, metavar="YYYY-MM-DD", help="only what was estimated on this day or later")
    export.add_argument(
        "--until", type=day, metavar="YYYY-MM-DD", help="only what was estimated on this day or earlier"
    )

    erase = add("erase", "Forget predictions for good, and the sales that were recorded for them.", as_json)
    erase.add_argument("predictions", nargs="+", metavar="ID", help="the id of a prediction")

    prune = add("prune", "Forget predictions that are older than some days, and their sales.", as_json)
    prune.add_argument("--keep", metavar="DAYS", help="how long predictions are kept, such as 400d (HOUSEPREDICT_KEEP)")


def _midnight(given: date) -> datetime:
    return datetime.combine(given, time(), UTC)


def _counted(forgotten: Removed) -> str:
    return f"{forgotten.predictions:,} predictions and {forgotten.sales:,} sales"
