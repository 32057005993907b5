"""A boosted model of the King County sales, trained without the search and the parity check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no annotations

from housepredict.adapters.files.sales_file import SalesFile
from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.loader import EXPLANATION_FILE, SERVING_FILE, pack, valuation
from housepredict.adapters.training.candidates import Candidate, fit_candidate
from housepredict.adapters.training.refit import attribution, encoded, table_of
from housepredict.adapters.training.target_encoding import with_target_encoding
from housepredict.domain.models import Artifact, ModelVersion, SelfTest, digests_of
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.training_options import TrainingOptions
from tests.containers import ROOT
from tests.factories import a_log_form, sample_version


@frozen
class Boosted:
    """A version, and its estimates for houses in the form of request bodies."""

    version: ModelVersion
    artifact: Artifact
    houses: Sequence[Mapping[str, Any]]
    prices: Sequence[float]


def boosted_version(trees: int) -> Boosted:
    """Return a version with `trees` trees for means, and as many for medians."""
    sales = prepare(SalesFile(ROOT / "examples" / "king_county_sales.csv.gz").read(), TrainingOptions(price="price"))
    matrix, prices, folds = encoded(sales.schema, sales.training)
    table = with_target_encoding(table_of(sales.schema, matrix, prices, 0.0), folds)
    with threadpool_limits(1):  # more threads than free cores would wait for each other
        model = fit_candidate(Candidate(on_a_line=True, leaves=31, iterations=trees), table, 1)
    form = model.form(table, None)
    artifact = {SERVING_FILE: pack(form), EXPLANATION_FILE: pack(attribution(model, form, table))}
    houses = [sale.house for sale in sales.held_out[:1000]]
    estimates = np.asarray(valuation(form, Encoder(sales.schema)(houses)).prices).tolist()
    version, _ = sample_version(
        a_log_form(), schema=sales.schema, digests=digests_of(artifact), self_test=(SelfTest(houses[0], estimates[0]),)
    )
    as_json = [
        {name: str(value) if name == "date" else value for name, value in house.values.items()} for house in houses
    ]
    return Boosted(version, artifact, as_json, estimates)
