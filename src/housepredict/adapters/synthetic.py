"""Made-up sales, drawn as the tutorial that this project grew out of draws them: its prices are ours, to the cent."""

from __future__ import annotations

import hashlib

import numpy as np
from attrs import frozen

from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import SalesTable

ROWS = 1000
HELD_OUT_ROWS = 200
_SEED = 42


@frozen
class SyntheticSales:
    """1,000 sales of made-up houses: columns size, bedrooms, age and price; a schema and a split of their own."""

    @property
    def location(self) -> None:
        """Nowhere."""
        return

    @property
    def with_recorded(self) -> bool:
        """False: none of them came back."""
        return False

    def read(self) -> SalesTable:
        """Draw all of it, the same at each call."""
        # the legacy generator, and the order of the draws, make the tutorial's numbers
        draw = np.random.RandomState(_SEED)
        size = draw.normal(2000, 500, ROWS)
        bedrooms = draw.randint(1, 6, ROWS)
        age = draw.randint(0, 50, ROWS)
        price = np.maximum(size * 100 + bedrooms * 5000 - age * 1000 + draw.normal(0, 10000, ROWS), 50000)
        columns = {"size": size, "bedrooms": bedrooms, "age": age, "price": price}
        held_out = np.zeros(ROWS, dtype=bool)
        # as scikit-learn's train_test_split(test_size=0.2, random_state=42) does it
        held_out[np.random.RandomState(_SEED).permutation(ROWS)[:HELD_OUT_ROWS]] = True
        seen = {name: column[~held_out] for name, column in columns.items()}
        observed = {name: (column.min().item(), column.max().item()) for name, column in seen.items()}
        return SalesTable(
            columns={name: column.tolist() for name, column in columns.items()},
            digest=hashlib.sha256(b"".join(column.astype("<f8").tobytes() for column in columns.values())).hexdigest(),
            schema=FeatureSchema(
                (
                    Feature("size", Kind.NUMBER, unit="sq ft", minimum=0, observed=observed["size"]),
                    Feature("bedrooms", Kind.INTEGER, minimum=0, observed=observed["bedrooms"]),
                    Feature("age", Kind.NUMBER, unit="years", minimum=0, observed=observed["age"]),
                )
            ),
            held_out=held_out.tolist(),
        )
