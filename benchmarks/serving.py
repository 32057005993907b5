"""Compare the speed of a King County model's serving form with scikit-learn's `predict` of the same estimators.

Both compute prices and spreads from the same derived columns, so encoding and deriving columns are not measured. They
alternate in one thread of one process, and ratios are of medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any, cast

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no annotations

from housepredict.adapters.files.sales_file import SalesFile
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.linear import LogPrices
from housepredict.adapters.serving.loader import ESTIMATOR_FILE, SERVING_FILE, unpack
from housepredict.adapters.training.candidates import ABSOLUTE
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.features import FeatureSchema
from housepredict.domain.models import Artifact
from housepredict.domain.sales import Sale
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.training_options import Algorithm, TrainingOptions

KING_COUNTY = "examples/king_county_sales.csv.gz"
ROUNDS = 30
SINGLE_HOUSES = 20
"""Houses that are estimated one by one in each round."""

Array = NDArray[np.float64]
Predict = Callable[[Array], tuple[Array, Array]]


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--version", type=Path, metavar="FOLDER", help="use this stored version instead of training")
    folder = parser.parse_args().version
    prepared = prepare(SalesFile(KING_COUNTY).read(), TrainingOptions(price="price"))
    schema, algorithm, artifact = _load(folder) if folder else _train(prepared.schema, prepared.training)
    form = cast("LogPrices", unpack(artifact[SERVING_FILE], algorithm))
    columns = form.columns(Encoder(schema)([sale.house for sale in prepared.held_out]))
    with threadpool_limits(1):
        _measure(_serving(form), _estimators(form, joblib.load(BytesIO(artifact[ESTIMATOR_FILE]))), columns)


def _load(folder: Path) -> tuple[FeatureSchema, Algorithm, Artifact]:
    version, artifact = DirectoryModels(folder.resolve().parents[1]).get(folder.resolve().name)
    return version.schema, version.algorithm, artifact


def _train(schema: FeatureSchema, sales: Sequence[Sale]) -> tuple[FeatureSchema, Algorithm, Artifact]:
    fitted = SklearnTrainer().fit(schema, sales, TrainingOptions(), lambda _done, _total: None)
    return schema, fitted.algorithm, fitted.artifact


def _serving(form: LogPrices) -> Predict:
    def predict(columns: Array) -> tuple[Array, Array]:
        log_prices = form.log_prices(columns)
        return log_prices, form.spreads(columns, log_prices)

    return predict


def _estimators(form: LogPrices, parts: dict[str, Any]) -> Predict:
    def predict(columns: Array) -> tuple[Array, Array]:
        for_trees, share = columns[:, form.columns.for_trees], parts["recipe"]["share"]
        log_prices: Array = np.full(len(columns), parts["base"])
        if parts["line"]:
            log_prices = log_prices + parts["line"].predict(columns[:, form.columns.for_lines])
        for loss, trees in parts["trees"].items():
            log_prices = log_prices + (share if loss == ABSOLUTE else 1 - share) * trees.predict(for_trees)
        return log_prices, parts["spread"].predict(np.column_stack([for_trees, log_prices]))

    return predict


def _measure(serving: Predict, estimators: Predict, columns: Array) -> None:
    for ours, theirs in zip(serving(columns), estimators(columns), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    thousand = columns[:1000]
    single: dict[Predict, list[float]] = {serving: [], estimators: []}
    batch: dict[Predict, list[float]] = {serving: [], estimators: []}
    for number in range(ROUNDS):
        for predict in (serving, estimators) if number % 2 else (estimators, serving):
            rows = columns[number * SINGLE_HOUSES :]
            single[predict] += [_seconds(predict, rows[row : row + 1]) for row in range(SINGLE_HOUSES)]
            batch[predict].append(_seconds(predict, thousand))
    for name, times in (("1 house", single), ("1,000 houses", batch)):
        ours_ms, theirs_ms = 1000 * median(times[serving]), 1000 * median(times[estimators])
        print(f"{name}: {ours_ms:.2f} ms, scikit-learn {theirs_ms:.2f} ms, {theirs_ms / ours_ms:.2f} times as fast")


def _seconds(predict: Predict, columns: Array) -> float:
    started = time.perf_counter()
    predict(columns)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
