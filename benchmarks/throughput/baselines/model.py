"""The tutorial's model, fitted with scikit-learn: what every baseline with a model predicts with."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split


def fitted() -> LinearRegression:
    """Size, bedrooms and age of 1,000 made-up houses; the draws and their order are the tutorial's."""
    draw = np.random.RandomState(42)
    columns = [draw.normal(2000, 500, 1000), draw.randint(1, 6, 1000), draw.randint(0, 50, 1000)]
    houses = np.column_stack(columns)
    prices = np.maximum(houses @ [100.0, 5000.0, -1000.0] + draw.normal(0, 10000, 1000), 50000)
    seen, _, prices_seen, _ = train_test_split(houses, prices, test_size=0.2, random_state=42)
    return LinearRegression().fit(seen, prices_seen)
