"""The commands that read and write whole files of houses: `housepredict predict HOUSES -o PRICES`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from housepredict.domain.errors import InvalidSettings
from housepredict.domain.usecases import EstimatedTable
from housepredict.entrypoints import report
from housepredict.entrypoints.bootstrap import Application, houses_at, prices_at
from housepredict.entrypoints.terminal import progress_bar

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
        report.print_json(_document(table))
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
