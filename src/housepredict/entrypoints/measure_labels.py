"""How a model version and its measures are put in words, in the terminal and on the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from attrs import asdict, frozen

from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.measures import RANGES, coverage_range
from housepredict.domain.models import TrainingSource
from housepredict.domain.training_options import TrainingOptions


@frozen
class Measure:
    """A field of `Accuracy`: how it is shown, and what it means."""

    title: str
    field: str
    digits: int
    unit: str
    meaning: str

    @property
    def range(self) -> str:
        """The acceptable values in words; empty if nobody has set a range."""
        acceptable = RANGES.get(self.field)
        if acceptable is None:
            return ""
        low, high = acceptable.low, acceptable.high
        return f"{low:g} to {high:g}" if high > 2 else f"{low:.2f} to {high:.2f}"


MEASURES: Final[Sequence[Measure]] = (
    Measure("MdAPE", "mdape", 1, " %", "half of the estimates are off by less"),
    Measure("PPE5", "ppe5", 1, " %", "estimates within 5 % of the price"),
    Measure("PPE10", "ppe10", 1, " %", "estimates within 10 % of the price"),
    Measure("PPE20", "ppe20", 1, " %", "estimates within 20 % of the price"),
    Measure("median ratio", "median_ratio", 3, "", "estimate / price"),
    Measure("COD", "cod", 1, "", "spread of the ratios"),
    Measure("PRD", "prd", 3, "", "above 1: dear houses estimated too low"),
    Measure("PRB", "prb", 3, "", "change of the ratio as value doubles"),
    Measure("FSD", "fsd", 1, " %", "standard deviation of the errors in percent"),
    Measure("R²", "r2", 3, "", "share of the prices' variance explained"),
    Measure("MAE", "mae", 0, "", "mean error, in the currency of the prices"),
    Measure("RMSE", "rmse", 0, "", "root of the mean squared error"),
)

OUT_OF_RANGE: Final = "out of range"
"""The mark of a measure, in words, so that it needs no color."""


def coverage_note(level: int, sales: int) -> str:
    """The acceptable coverage of the intervals of a level on so many sales, in words."""
    acceptable = coverage_range(level, sales)
    return f"{acceptable.low:.1f}% to {acceptable.high:.1f}%"


def intervals_text(choice: IntervalChoice | None, *, with_reasons: bool = True) -> str:
    """The kind of a version's intervals, the results of their coverage tests, and the reasons of the choice."""
    if choice is None:
        return "not recorded, an older release trained this version"
    tests = ", ".join(f"{test.level}% p = {test.p_value:.2g}" for test in choice.tests if test.kind is choice.kind)
    result = f"{choice.kind} (coverage test: {tests})" if tests else str(choice.kind)
    return ". ".join([result, " ".join(choice.reasons)]) if with_reasons and choice.reasons else result


def source_text(source: TrainingSource, *, short: bool = False) -> str:
    """The origin of a version's sales; `short`, without the folder of their file."""
    if source.synthetic:
        return "synthetic"
    recorded = [] if source.recorded is None else [f"{source.recorded} that came back"]
    location = PurePath(source.location).name if source.location and short else source.location
    return " and ".join(([location] if location else []) + recorded)


def options_text(options: TrainingOptions) -> str:
    """The options of a training that differ from their defaults."""
    defaults = asdict(TrainingOptions())
    differing = {name: value for name, value in asdict(options).items() if value != defaults[name]}
    return ", ".join(f"{name}={value}" for name, value in differing.items()) or "none"
