"""What was said of a version when it was compared with the one that it would replace; `promotion` is the rule."""

from __future__ import annotations

from attrs import frozen

from housepredict.domain.accuracy import Accuracy


@frozen
class Performance:
    """What a model did on the sales of a comparison.

    `error` is the mean of |ln(estimate / price)|; `coverage`, in percent, is that of the 90 % intervals, None without
    any; `refused` is the share of all held-out houses, in percent, that the model gives no price for.
    """

    error: float
    accuracy: Accuracy
    coverage: float | None
    refused: float


@frozen
class Comparison:
    """Two versions on the same sales: those that were held out, and that both have a price for.

    `better` is the share of resamples, in percent, in which the challenger's error was below the champion's.
    """

    champion: str
    sales: int
    better: float
    challenger: Performance
    incumbent: Performance


@frozen
class Verdict:
    """Whether a version was promoted, and why or why not, in sentences."""

    promoted: bool
    reasons: tuple[str, ...]
    comparison: Comparison | None = None
