"""A trained model as a thing that is kept: an immutable version, its manifest and its artefact."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum

from attrs import field, fields, frozen

from housepredict.domain.accuracy import Accuracy
from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import FeatureSchema, House, Kind
from housepredict.domain.intervals import IntervalChoice
from housepredict.domain.options import choice, column, columns, encoding, kinds, option, require_valid, seconds, seed
from housepredict.domain.ranges import out_of_range
from housepredict.domain.verdicts import Verdict


class Algorithm(StrEnum):
    """How a model is fitted: least squares on the price, ridge regression on its logarithm, gradient-boosted trees on
    that or on what the ridge leaves; `auto` is whichever does best in cross-validation.
    """

    AUTO = "auto"
    LINEAR = "linear"
    RIDGE = "ridge"
    BOOSTING = "boosting"


class Effort(StrEnum):
    """How much a search for the best model may cost, in fits."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


def _column(value: str | None) -> str | None:
    return None if value is None else option(column, value)


def _columns(value: Iterable[str]) -> tuple[str, ...]:
    return option(columns, value)


def _kinds(value: Mapping[str, Kind | str]) -> Mapping[str, Kind]:
    return option(kinds, value)


def _algorithm(value: Algorithm | str) -> Algorithm:
    return option(choice(Algorithm), value)


def _effort(value: Effort | str) -> Effort:
    return option(choice(Effort), value)


def _seed(value: int) -> int:
    return option(seed, value)


def _seconds(value: float | None) -> float | None:
    return None if value is None else option(seconds, value)


def _encoding(value: str | None) -> str | None:
    return None if value is None else option(encoding, value)


@frozen
class TrainingOptions:
    """What a user may decide about a training; everything else is inferred from the sales.

    `features` keeps these columns alone, `exclude` leaves columns out, `kinds` says what a column is, `closed` names
    the categories that are complete, `allow` columns that are used though they seem to give the price away. `price`,
    `sale_date` and `house_id` name columns. For synthetic sales `auto` is a linear model, since they were made by one.
    `time_limit` is for the search, in seconds; where it ends one, the same options may make another model next time.
    `encoding` is that of a file of text, as Python calls it; None lets its bytes tell.

    Raises:
        InvalidOptions: with every violation. Enumerations may be given as text, and lists as any iterable but a text.
    """

    price: str | None = field(default=None, converter=_column)
    sale_date: str | None = field(default=None, converter=_column)
    house_id: str | None = field(default=None, converter=_column)
    features: tuple[str, ...] = field(default=(), converter=_columns)
    exclude: tuple[str, ...] = field(default=(), converter=_columns)
    kinds: Mapping[str, Kind] = field(factory=dict, converter=_kinds)
    closed: tuple[str, ...] = field(default=(), converter=_columns)
    allow: tuple[str, ...] = field(default=(), converter=_columns)
    algorithm: Algorithm = field(default=Algorithm.AUTO, converter=_algorithm)
    effort: Effort = field(default=Effort.NORMAL, converter=_effort)
    seed: int = field(default=42, converter=_seed)
    time_limit: float | None = field(default=None, converter=_seconds)
    encoding: str | None = field(default=None, converter=_encoding)

    def __attrs_post_init__(self) -> None:
        """Raise InvalidOptions with every violation."""
        require_valid({each.name: getattr(self, each.name) for each in fields(type(self))})


@frozen
class TrainingSource:
    """Where a version's sales came from, enough to read them again.

    `location` is None without a file. `recorded` is how many of the sales came back of houses that were estimated, None
    if none were asked for: without a file either, the sales are synthetic. `read_on` is the latest date that a sale
    could have at the training; None for a version of an older release, which did not store it. `rejected` counts the
    rejected rows by reason, and `notes` are the notes on how the file was read; both are empty in a version of an older
    release.
    """

    location: str | None
    digest: str
    recorded: int | None = None
    read_on: date | None = None
    rejected: Mapping[str, int] = field(factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether the sales were made up rather than observed."""
        return self.location is None and self.recorded is None


@frozen
class Bounds:
    """Between what a measure lies with a probability of 95 percent (see bootstrap)."""

    low: float
    high: float


@frozen
class Coverage:
    """How often the intervals of a level held the sale price, in percent, and the median of high / estimate."""

    level: int
    share: float
    width: float | None


@frozen
class Segment:
    """Accuracy on some of the sales: n of them. `coverage`, in percent, is that of the 90 % intervals."""

    name: str
    n: int
    median_ratio: float
    mdape: float
    coverage: float | None


@frozen
class LaterEvaluation:
    """How far the same recipe was off on the latest sales, those of `since` and after, having learned from earlier ones
    of other houses.
    """

    since: date
    trained_on: int
    held_out: int
    accuracy: Accuracy
    coverage: tuple[Coverage, ...] = ()

    @property
    def out_of_range(self) -> tuple[str, ...]:
        """The measures that are not acceptable (see ranges)."""
        return out_of_range(self.accuracy, self.coverage)


@frozen
class Evaluation:
    """How far a version was off on sales that it had not learned from.

    `bounds` are by measure. A version without a calibration has no `coverage`. `price_tenths` are by sale price,
    cheapest first; `categories` by the commonest values of the feature that `category` names. Where there is no
    `later`, `why_no_later` says why not.
    """

    trained_on: int
    held_out: int
    accuracy: Accuracy
    bounds: Mapping[str, Bounds] = field(factory=dict)
    coverage: tuple[Coverage, ...] = ()
    price_tenths: tuple[Segment, ...] = ()
    category: str | None = None
    categories: tuple[Segment, ...] = ()
    later: LaterEvaluation | None = None
    why_no_later: str | None = None

    @property
    def out_of_range(self) -> tuple[str, ...]:
        """The measures that are not acceptable (see ranges)."""
        return out_of_range(self.accuracy, self.coverage)


@frozen
class SelfTest:
    """A house and the price that a version must give it, before it may serve."""

    house: House
    price: float


@frozen
class ModelVersion:
    """The manifest of a version: all there is to know of it but the numbers it computes with.

    `digests` are the SHA-256 of the artefact's files, in hexadecimal; `libraries` the versions that trained it.
    Without a `calibration`, estimates have no intervals. `irreproducible` is why the same sales and options may make
    another version; None if they make the same. `verdict` is what the promotion rule said when the version was trained;
    promotions by hand change nothing of it. `intervals` says which intervals the version has, and why; None in a
    manifest of an older release. The `signature` is over all the rest; None if nobody signed. `document` is the
    manifest as it was read, where another release wrote it: a store that copies the version writes that, so that
    fields of a newer release and their signature stay.
    """

    name: str
    created_at: datetime
    algorithm: Algorithm
    schema: FeatureSchema
    options: TrainingOptions
    source: TrainingSource
    evaluation: Evaluation
    self_test: tuple[SelfTest, ...]
    digests: Mapping[str, str]
    libraries: Mapping[str, str]
    calibration: Calibration | None = None
    irreproducible: str | None = None
    verdict: Verdict | None = None
    intervals: IntervalChoice | None = None
    signature: str | None = None
    document: Mapping[str, object] | None = field(default=None, eq=False, repr=False)

    @property
    def valuation_date(self) -> date | None:
        """The date that estimates are for where a house does not say."""
        return self.schema.valuation_date


@frozen
class Pointer:
    """Which version is promoted; None before the first promotion.

    `generation` grows with each move; None while the store cannot be asked, and what was promoted last counts.
    """

    name: str | None = None
    generation: int | None = 0


Artefact = Mapping[str, bytes]
"""The files of a version: file name to content."""

MAX_FILE = 2**28
"""The largest file of a version, in bytes; those of 20,000 sales have under 2 MiB."""

MAX_ARTEFACT = 2**29
"""The largest artefact, in bytes: that of all its files."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def digests_of(artefact: Artefact) -> dict[str, str]:
    """The SHA-256 of each file, in hexadecimal."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in artefact.items()}


def version_name(created_at: datetime, artefact: Artefact) -> str:
    """A name that sorts by time; trainings of the same second have names of their own, even if they made the same."""
    content = created_at.isoformat() + "".join(
        f"{name}:{digest};" for name, digest in sorted(digests_of(artefact).items())
    )
    return f"{created_at:%Y%m%d-%H%M%S}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def is_plain(name: str) -> bool:
    """Whether a version or a file may have this name: a store can use it as it is, in a path as well."""
    return _PLAIN_NAME.fullmatch(name) is not None


def verify(version: ModelVersion, artefact: Artefact) -> None:
    """Raise RefusedModel unless these are the files of the version, unchanged, and a store can keep them."""
    for name in (version.name, *version.digests):
        if not is_plain(name):
            raise RefusedModel(f"{name!r} is no name for a model version or a file of it")
    if artefact.keys() != version.digests.keys():
        expected, found = (", ".join(sorted(names)) or "none" for names in (version.digests, artefact))
        raise RefusedModel(f"Model version {version.name} is damaged: its files are {found}, not {expected}")
    for name, content in artefact.items():
        if len(content) > MAX_FILE:
            raise RefusedModel(f"{name} of model version {version.name} is too large: over {MAX_FILE} bytes")
    if sum(map(len, artefact.values())) > MAX_ARTEFACT:
        raise RefusedModel(f"The files of model version {version.name} are over {MAX_ARTEFACT} bytes together")
    changed = [name for name, digest in digests_of(artefact).items() if digest != version.digests[name]]
    if changed:
        raise RefusedModel(f"Model version {version.name} is damaged: {', '.join(sorted(changed))} was changed")
