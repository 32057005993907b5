"""The commands for predictions that are remembered: `housepredict predictions show`."""

from __future__ import annotations

import argparse

from housepredict.entrypoints import report
from housepredict.entrypoints.bootstrap import Application


def show(application: Application, options: argparse.Namespace) -> int:
    """Show one prediction."""
    prediction = application.records.one(options.prediction)
    if options.json:
        report.print_json(report.prediction_document(prediction))
    else:
        print(report.prediction_text(prediction))
    return 0
