"""The tutorial's model, fitted with scikit-learn, for the baselines."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split


def fitted() -> LinearRegression:
    """Fit the model to 1,000 synthetic houses, drawn in the tutorial's order."""
    draw = np.random.RandomState(42)
    columns = [draw.normal(2000, 500, 1000), draw.randint(1, 6, 1000), draw.randint(0, 50, 1000)]
    houses = np.column_stack(columns)
    prices = np.maximum(houses @ [100.0, 5000.0, -1000.0] + draw.normal(0, 10000, 1000), 50000)
    seen, _, prices_seen, _ = train_test_split(houses, prices, test_size=0.2, random_state=42)
    return LinearRegression().fit(seen, prices_seen)
