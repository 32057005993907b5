"""Labels and phrases for model versions and their measures, used in the terminal and on the web pages."""

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
    """How to show a field of `Accuracy`: its title, number of decimals, unit and meaning."""

    title: str
    field: str
    digits: int
    unit: str
    meaning: str

    @property
    def range(self) -> str:
        """The acceptable range, such as `5 to 15`. Empty if the measure has no acceptable range."""
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
"""The label for a measure outside its acceptable range. Color alone would not be accessible to all readers."""

SYNTHETIC: Final = "Demo model trained on synthetic sales. Its prices mean nothing for real houses."


def counted(count: int, noun: str) -> str:
    """Format a count and its noun, such as `1 sale` or `1,910 sales`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def coverage_text(coverage: Coverage) -> str:
    """Describe the coverage and the typical width of the intervals at one level, such as 80%."""
    text = f"{coverage.level}% interval: covered {coverage.share:.1f}% of sale prices"
    if not coverage.width:
        return text
    return f"{text}; typically {100 / coverage.width - 100:.0f}% to +{100 * coverage.width - 100:,.0f}%"


def coverage_note(level: int, sales: int) -> str:
    """Format the acceptable range of coverage for an interval level. The range depends on the number of sales."""
    acceptable = coverage_range(level, sales)
    return f"{acceptable.low:.1f}% to {acceptable.high:.1f}%"


def intervals_text(choice: IntervalChoice | None, *, with_reasons: bool = True) -> str:
    """Describe a version's kind of intervals, with the results of the coverage tests.

    `with_reasons` is whether to add the reasons for choosing this kind.
    """
    if choice is None:
        return "not recorded (trained by an older release)"
    tests = ", ".join(f"{test.level}% p = {test.p_value:.2g}" for test in choice.tests if test.kind is choice.kind)
    result = f"{choice.kind} (coverage test: {tests})" if tests else str(choice.kind)
    return ". ".join([result, " ".join(choice.reasons)]) if with_reasons and choice.reasons else result


def source_text(source: TrainingSource, *, short: bool = False) -> str:
    """Describe where a version's training sales come from. With `short`, the directory of the sales file is omitted."""
    if source.synthetic:
        return "synthetic"
    recorded = [] if source.recorded is None else [counted(source.recorded, "recorded sale")]
    location = PurePath(source.location).name if source.location and short else source.location
    return " and ".join(([location] if location else []) + recorded)


def options_text(options: TrainingOptions) -> str:
    """Format the options that differ from their defaults, such as `seed=1, effort=low`, or return `none`."""
    defaults = asdict(TrainingOptions())
    differing = {name: value for name, value in asdict(options).items() if value != defaults[name]}
    return ", ".join(f"{name}={value}" for name, value in differing.items()) or "none"
