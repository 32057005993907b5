"""The measures of an evaluation as people are told of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen


@frozen
class Measure:
    """A field of `Accuracy`: how it is told, what it means, and what of it is acceptable for houses (IAAO 2013)."""

    title: str
    field: str
    digits: int
    unit: str
    meaning: str
    acceptable: tuple[float, float] | None = None

    @property
    def range(self) -> str:
        """What is acceptable, in words; nothing where nobody has set a range."""
        if self.acceptable is None:
            return ""
        low, high = self.acceptable
        return f"{low:g} to {high:g}" if high > 2 else f"{low:.2f} to {high:.2f}"


MEASURES: Final[Sequence[Measure]] = (
    Measure("MdAPE", "mdape", 1, " %", "half of the estimates are off by less"),
    Measure("PPE5", "ppe5", 1, " %", "estimates within 5 % of the price"),
    Measure("PPE10", "ppe10", 1, " %", "estimates within 10 % of the price"),
    Measure("PPE20", "ppe20", 1, " %", "estimates within 20 % of the price"),
    Measure("median ratio", "median_ratio", 3, "", "estimate / price", (0.9, 1.1)),
    Measure("COD", "cod", 1, "", "spread of the ratios", (5, 15)),
    Measure("PRD", "prd", 3, "", "above 1: dear houses estimated too low", (0.98, 1.03)),
    Measure("PRB", "prb", 3, "", "change of the ratio as value doubles", (-0.05, 0.05)),
    Measure("FSD", "fsd", 1, " %", "standard deviation of the errors in percent"),
    Measure("R²", "r2", 3, "", "share of the prices' variance explained"),
    Measure("MAE", "mae", 0, "", "mean error, in the currency of the prices"),
    Measure("RMSE", "rmse", 0, "", "root of the mean squared error"),
)
