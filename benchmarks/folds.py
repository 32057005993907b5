"""Accuracy over five folds by house: each house's sales are all on one side, and each is estimated once."""

from __future__ import annotations

import argparse
import hashlib
import time
from statistics import fmean

from housepredict.adapters.sales_files import SalesFile
from housepredict.adapters.sklearn_model.trainer import SklearnTrainer
from housepredict.domain.accuracy import Accuracy, accuracy
from housepredict.domain.estimates import whole_cents
from housepredict.domain.inference import prepare
from housepredict.domain.models import Algorithm, TrainingOptions
from housepredict.domain.sales import Sale

FOLDS = 5
MEASURES = ("r2", "mdape", "ppe10", "cod", "prd", "prb", "median_ratio", "fsd")


def fold_of(sale: Sale) -> int:
    """The fold of a house; salted, so that it has nothing to do with which sales a training holds out."""
    return int.from_bytes(hashlib.sha256(f"fold {sale.house_key}".encode()).digest()[:8], "big") % FOLDS


def main() -> None:
    """Print the measures of each fold, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sales", nargs="?", default="examples/king_county_sales.csv.gz")
    parser.add_argument("--price", default="price")
    parser.add_argument("--algorithm", type=Algorithm, choices=list(Algorithm), default=Algorithm.BOOSTING)
    options = parser.parse_args()
    prepared = prepare(SalesFile(options.sales).read(), TrainingOptions(price=options.price))
    sales = [*prepared.training, *prepared.held_out]
    print(f"{len(sales)} sales, {options.algorithm}, {FOLDS} folds by house")
    print("fold  " + "".join(f"{name:>13}" for name in MEASURES) + f"{'seconds':>10}")
    folds: list[Accuracy] = []
    for fold in range(FOLDS):
        started = time.perf_counter()
        training = [sale for sale in sales if fold_of(sale) != fold]
        test = [sale for sale in sales if fold_of(sale) == fold]
        fitted = SklearnTrainer().fit(
            prepared.schema, training, TrainingOptions(algorithm=options.algorithm), lambda _done, _total: None
        )
        prices = [whole_cents(price) or 0.0 for price in fitted.predict([sale.house for sale in test]).prices]
        folds.append(accuracy(prices, [sale.price for sale in test]))
        values = "".join(f"{getattr(folds[-1], name):13.4f}" for name in MEASURES)
        print(f"{fold:<6}{values}{time.perf_counter() - started:10.1f}", flush=True)
    print("mean  " + "".join(f"{fmean(getattr(each, name) for each in folds):13.4f}" for name in MEASURES))


if __name__ == "__main__":
    main()
