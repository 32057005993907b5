"""Measure the accuracy of the default settings on held-out sales, compared with plain scikit-learn models.

`python -m benchmarks.accuracy` runs all measurements; with a name, such as `folds`, it runs one of them.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.plain import PLAIN, predictions
from housepredict.adapters.files.sales_file import SalesFile
from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.evaluation.held_out import OutOfTimeSales, latest_sales
from housepredict.domain.evaluation.measures import accuracy
from housepredict.domain.features import FeatureSchema
from housepredict.domain.sales import Cell, Sale, SalesTable
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.training_options import TrainingOptions

KING_COUNTY, SARATOGA = "examples/king_county_sales.csv.gz", "examples/saratoga_sales.csv"
FOLDS = 5
MEASURES = ("mdape", "ppe10", "cod", "prd", "prb", "median_ratio", "r2")
BASELINES = tuple(PLAIN)
BOOSTED = ("hist gradient boosting, log", "hist boosting, log, 1000 trees")

Array = NDArray[np.float64]


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("name", nargs="?", choices=list(MEASUREMENTS), help="run only this measurement")
    chosen = parser.parse_args().name
    for name, measure in MEASUREMENTS.items():
        if chosen in (None, name):
            print(f"\n== {name}: {measure.__doc__}", flush=True)
            measure()
    used = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"\npeak memory: {used[0]:,.0f} MiB in this process, {used[1]:,.0f} MiB in its largest child process")


def folds() -> None:
    """King County, five folds by house, all columns"""
    _in_folds(*_sales(SalesFile(KING_COUNTY).read()), BOOSTED)


def later() -> None:
    """King County, tested on the latest fifth of the sales, trained on those before"""
    schema, sales = _sales(SalesFile(KING_COUNTY).read())
    split = latest_sales(sales)
    assert isinstance(split, OutOfTimeSales), split
    past, future = split.earlier, split.latest
    encode = Encoder(schema)
    train_rows, test_rows = (np.ascontiguousarray(encode([sale.house for sale in part])) for part in (past, future))
    prices = _prices(future)
    _head()
    ours, _, _ = _default(schema, past, future)
    _row("housepredict, default settings", ours, prices)
    for name in BOOSTED:
        _row(name, predictions(name, train_rows, _prices(past), test_rows), prices)
    months = np.array([sale.sold_on.month for sale in future if sale.sold_on])
    levels = np.exp([np.median(np.log(prices / ours)[months == month]) for month in months])
    _row("ceiling: price level of each month known", ours * levels, prices)


def lab() -> None:
    """King County, five folds by house, the tutorial's three features: size, bedrooms and age"""
    columns = dict(SalesFile(KING_COUNTY).read().columns)
    years = [int(str(sold)[:4]) for sold in columns["date"]]
    ages: list[Cell] = [year - int(str(built)) for year, built in zip(years, columns["yr_built"], strict=True)]
    selected = {name: columns[name] for name in ("id", "price", "sqft_living", "bedrooms")} | {"age": ages}
    _in_folds(*_sales(SalesTable(selected, "0" * 64)), BOOSTED)


def saratoga() -> None:
    """Saratoga, five folds, all columns"""
    _in_folds(*_sales(SalesFile(SARATOGA).read()), BASELINES)


MEASUREMENTS: Mapping[str, Callable[[], None]] = {"folds": folds, "later": later, "lab": lab, "saratoga": saratoga}


def _sales(table: SalesTable) -> tuple[FeatureSchema, list[Sale]]:
    prepared = prepare(table, TrainingOptions(price="price"))
    return prepared.schema, [*prepared.training, *prepared.held_out]


def _fold_of(sale: Sale) -> int:
    """Return the fold of a house; salted, so that it is independent of the sales that a training holds out."""
    return int.from_bytes(hashlib.sha256(f"fold {sale.house_key}".encode()).digest()[:8], "big") % FOLDS


def _prices(sales: Sequence[Sale]) -> Array:
    return np.array([sale.price for sale in sales])


def _default(
    schema: FeatureSchema, training: Sequence[Sale], test: Sequence[Sale]
) -> tuple[Array, dict[int, Array], float]:
    """Return estimates, the factors between estimates and bounds of intervals, and the seconds of the training."""
    started = time.perf_counter()
    fitted = SklearnTrainer().fit(schema, training, TrainingOptions(), lambda _done, _total: None)
    seconds = time.perf_counter() - started
    valuation = fitted.predict([sale.house for sale in test])
    spreads, calibration = np.array(valuation.spreads), fitted.calibration
    withins = {80: calibration and calibration.within_80, 90: calibration and calibration.within_90}
    factors = {level: np.exp((within or np.nan) * spreads) for level, within in withins.items()}
    return np.array(valuation.prices), factors, seconds


def _in_folds(schema: FeatureSchema, sales: Sequence[Sale], baselines: Sequence[str]) -> None:
    fold = np.array([_fold_of(sale) for sale in sales])
    matrix, prices = np.ascontiguousarray(Encoder(schema)([sale.house for sale in sales])), _prices(sales)
    ours, factors, durations = np.empty(len(sales)), {80: np.empty(len(sales)), 90: np.empty(len(sales))}, []
    _head()
    for number in range(FOLDS):
        test = fold == number
        training, tested = (
            [sale for sale, inside in zip(sales, test, strict=True) if inside == side] for side in (0, 1)
        )
        ours[test], fold_factors, seconds = _default(schema, training, tested)
        durations.append(seconds)
        for level, values in fold_factors.items():
            factors[level][test] = values
    _row("housepredict, default settings", ours, prices)
    for name in baselines:
        plain = np.empty(len(sales))
        for number in range(FOLDS):
            test = fold == number
            plain[test] = predictions(name, matrix[~test], prices[~test], matrix[test])
        _row(name, plain, prices)
    print(f"training time per fold: median {np.median(durations):.0f} s, maximum {max(durations):.0f} s")
    _intervals(ours, prices, factors)


def _intervals(estimates: Array, prices: Array, factors: Mapping[int, Array]) -> None:
    fifths = {
        name: np.argsort(np.argsort(by)) * 5 // len(by) for name, by in (("estimate", estimates), ("price", prices))
    }
    for level, factor in factors.items():
        inside = (prices <= estimates * factor) & (prices >= estimates / factor)
        line = f"{level}% intervals: covered {100 * inside.mean():.1f}%, median factor {np.median(factor):.3f}"
        for name, fifth in fifths.items():
            shares = (f"{100 * inside[fifth == number].mean():.1f}%" for number in range(5))
            line += f"; by fifth of the {name}: {' '.join(shares)}"
        print(line, flush=True)


def _head() -> None:
    print(f"{'':42}" + "".join(f"{name:>13}" for name in MEASURES))


def _row(name: str, estimates: Array, prices: Array) -> None:
    measured = accuracy(estimates.tolist(), prices.tolist())
    print(f"{name:42}" + "".join(f"{getattr(measured, measure):13.4f}" for measure in MEASURES), flush=True)


if __name__ == "__main__":
    main()
