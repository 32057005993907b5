"""Labels and phrases for model versions and their measures, shared by the terminal and the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from attrs import asdict, frozen

from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.measures import RANGES, Coverage, coverage_range
from housepredict.domain.models import TrainingSource
from housepredict.domain.training_options import TrainingOptions


@frozen
class Measure:
    """A field of `Accuracy`, with its title, decimals, unit and meaning."""

    title: str
    field: str
    digits: int
    unit: str
    meaning: str

    @property
    def range(self) -> str:
        """The acceptable range, such as `5 to 15`; empty if there is none."""
        acceptable = RANGES.get(self.field)
        if acceptable is None:
            return ""
        low, high = acceptable.low, acceptable.high
        return f"{low:g} to {high:g}" if high > 2 else f"{low:.2f} to {high:.2f}"


MEASURES: Final[Sequence[Measure]] = (
    Measure("MdAPE", "mdape", 1, "%", "half of the estimates are off by less than this"),
    Measure("PPE5", "ppe5", 1, "%", "estimates within 5% of the sale price"),
    Measure("PPE10", "ppe10", 1, "%", "estimates within 10% of the sale price"),
    Measure("PPE20", "ppe20", 1, "%", "estimates within 20% of the sale price"),
    Measure("median ratio", "median_ratio", 3, "", "estimate / sale price"),
    Measure("COD", "cod", 1, "", "dispersion of the ratios around their median"),
    Measure("PRD", "prd", 3, "", "above 1: expensive homes are undervalued"),
    Measure("PRB", "prb", 3, "", "change in the ratio when value doubles"),
    Measure("FSD", "fsd", 1, "%", "standard deviation of the percentage errors"),
    Measure("R²", "r2", 3, "", "share of price variance explained"),
    Measure("MAE", "mae", 0, "", "mean absolute error, in the currency of the sales"),
    Measure("RMSE", "rmse", 0, "", "root mean squared error, in the currency of the sales"),
)

OUT_OF_RANGE: Final = "out of range"
"""The mark on a measure outside its acceptable range; in words, not by color alone."""

SYNTHETIC: Final = "Demo model trained on synthetic sales. Its prices mean nothing for real houses."


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 sale` or `1,910 sales`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def coverage_text(coverage: Coverage) -> str:
    """Return the coverage of a level's intervals and their median ends, which are symmetric in the logarithm."""
    text = f"{coverage.level}% interval: covered {coverage.share:.1f}% of sale prices"
    if not coverage.width:
        return text
    return f"{text}; typically {100 / coverage.width - 100:.0f}% to +{100 * coverage.width - 100:,.0f}%"


def coverage_note(level: int, sales: int) -> str:
    """Return the acceptable coverage of a level's intervals, measured on a number of sales, as a range."""
    acceptable = coverage_range(level, sales)
    return f"{acceptable.low:.1f}% to {acceptable.high:.1f}%"


def intervals_text(choice: IntervalChoice | None, *, with_reasons: bool = True) -> str:
    """Return the kind of a version's intervals, the results of its coverage tests, and the reasons for the kind."""
    if choice is None:
        return "not recorded (trained by an older release)"
    tests = ", ".join(f"{test.level}% p = {test.p_value:.2g}" for test in choice.tests if test.kind is choice.kind)
    result = f"{choice.kind} (coverage test: {tests})" if tests else str(choice.kind)
    return ". ".join([result, " ".join(choice.reasons)]) if with_reasons and choice.reasons else result


def source_text(source: TrainingSource, *, short: bool = False) -> str:
    """Return the origin of a version's sales; with `short`, without the folder of their file."""
    if source.synthetic:
        return "synthetic"
    recorded = [] if source.recorded is None else [counted(source.recorded, "recorded sale")]
    location = PurePath(source.location).name if source.location and short else source.location
    return " and ".join(([location] if location else []) + recorded)


def options_text(options: TrainingOptions) -> str:
    """Return the training options that differ from their defaults, such as `seed=1, effort=low`; `none` without any."""
    defaults = asdict(TrainingOptions())
    differing = {name: value for name, value in asdict(options).items() if value != defaults[name]}
    return ", ".join(f"{name}={value}" for name, value in differing.items()) or "none"
