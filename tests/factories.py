"""Houses, sales, and versions for tests of models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from functools import cache
from random import Random
from typing import Any

import numpy as np
from attrs import evolve

from housepredict.adapters.serving.encoding import DerivedFeatures
from housepredict.adapters.serving.linear import Linear, LogPrices
from housepredict.adapters.serving.loader import SERVING_FILE, ServingForm, pack
from housepredict.adapters.serving.trees import Trees
from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.models import Artifact, ModelVersion, digests_of
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm
from housepredict.testing import drawing as versions

TUTORIAL = FeatureSchema((Feature("size", Kind.NUMBER), Feature("bedrooms", Kind.INTEGER), Feature("age", Kind.NUMBER)))

MIXED = FeatureSchema(
    features=(
        Feature("size", Kind.NUMBER),
        Feature("area", Kind.CATEGORY, categories=("north", "south", "east", "west")),
        Feature("waterfront", Kind.BOOLEAN),
        Feature("sold", Kind.DATE),
        Feature("bedrooms", Kind.INTEGER),
        Feature("heating", Kind.CATEGORY, categories=("gas", "oil")),
    ),
    sale_date="sold",
    valuation_date=date(2015, 5, 27),
)
"""A schema with every kind of feature. The categories are not adjacent."""


def a_house(**values: Value) -> House:
    """Return a house with these features."""
    return House(values)


def a_linear_form() -> Linear:
    """Return a form for the tutorial's features: 50,000 + 100 per sq ft + 10,000 per bedroom - 500 per year."""
    return Linear(
        intercept=np.array(50_000.0),
        means=np.array([2000.0, 3.0, 25.0]),
        coefficients=np.array([100.0, 10_000.0, -500.0]),
        sizes=np.zeros(3, dtype=np.int64),
        offsets=np.empty(0),
    )


def a_trees_form() -> Trees:
    """For the tutorial's features, on the logarithm of the price: 12 with up to 2000 sq ft, 13 above or without a size,
    and 1 more with over 3 bedrooms.
    """
    return Trees(
        cuts=np.array([2000.0, np.inf, 3.0, np.inf, np.inf]),
        sizes=np.array([2, 2, 1]),
        # up to 2000 sq ft, more, missing; up to 3 bedrooms, more, missing; any age, missing
        masks=np.array([[3, 3], [2, 3], [2, 3], [3, 3], [3, 2], [3, 3], [3, 3], [3, 3]], dtype=np.uint32),
        leaves=np.array([[12.0, 13.0], [0.0, 1.0]]),
    )


def a_log_form() -> LogPrices:
    """Return a form whose log prices are those of `a_trees_form`."""
    return LogPrices(
        columns=DerivedFeatures(
            lowest=np.full(3, -np.inf),
            highest=np.full(3, np.inf),
            logged=np.empty(0, dtype=np.int64),
            turned=np.empty((0, 2), dtype=np.int64),
            weights=np.empty((0, 2)),
        ),
        linear=Linear(np.array(0.0), np.zeros(3), np.zeros(3), np.zeros(3, dtype=np.int64), np.empty(0)),
        share=np.array(0.0),
        squared=a_trees_form(),
    )


def sample_version(form: ServingForm, **overrides: Any) -> tuple[ModelVersion, Artifact]:
    """Return a version with the tutorial's features and this form, and its files."""
    artifact = {SERVING_FILE: pack(form), "estimator.joblib": b"never opened"}
    algorithm = Algorithm.LINEAR if isinstance(form, Linear) else Algorithm.BOOSTING
    version = evolve(
        versions.sample_version()[0], algorithm=algorithm, schema=TUTORIAL, self_test=(), digests=digests_of(artifact)
    )
    return evolve(version, **overrides), artifact


def sample_sales(schema: FeatureSchema, count: int, seed: int = 1, missing: float = 0.2) -> list[Sale]:
    """Return random sales priced by their first two features. `missing` is the probability of a missing value."""
    random = Random(seed)
    sales = []
    for number in range(count):
        values = {feature.name: _value(feature, random) for feature in schema.features}
        price = 1e5 * sum(1 + size_of(value) for value in list(values.values())[:2]) * random.uniform(0.8, 1.2)
        kept = {name: value for name, value in values.items() if random.random() >= missing}
        sales.append(Sale(House(kept), price, house_key=str(number)))
    return sales


@cache
def scattered_sales(count: int, seed: int) -> Sequence[Sale]:
    """Return sales of `TUTORIAL` houses priced by size, with noise of 5 to 35% that grows with age."""
    random = Random(seed)
    sales = []
    for number in range(count):
        size, age = random.uniform(500, 4000), random.uniform(0, 90)
        price = 200 * size * math.exp(random.gauss(0, 0.05 + age / 300))
        house = a_house(size=size, bedrooms=random.randrange(1, 6), age=age)
        sales.append(Sale(house, price, house_key=f"{seed}-{number}"))
    return sales


def size_of(value: Value) -> float:
    """Return a number from 0 to 10 that depends only on the value."""
    return float(len(value)) % 10 if isinstance(value, str) else abs(float(value)) % 10


def _value(feature: Feature, random: Random) -> Value:
    match feature.kind:
        case Kind.CATEGORY:
            return random.choice(feature.categories)
        case Kind.BOOLEAN:
            return random.random() < 0.5
        case Kind.DATE:
            return date.fromordinal(735_000 + random.randrange(700)).isoformat()
        case Kind.INTEGER:
            return random.randrange(10)
        case Kind.NUMBER:
            return random.gauss(2000, 500)
