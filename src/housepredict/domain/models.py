"""A trained model as a thing that is kept: an immutable version, its manifest and its artefact."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime

from attrs import field, frozen

from housepredict.domain.errors import NewerModel, RefusedModel
from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.measures import Accuracy, Evaluation
from housepredict.domain.features import FeatureSchema, House
from housepredict.domain.training_options import (
    Algorithm,
    TrainingOptions,
)


def require_format(found: object, known: int, document: str) -> None:
    """Check that this release reads the format of a document.

    Raises:
        NewerModel: if a newer release made the document.
        ValueError: if the number is anything else but `known`.
    """
    if type(found) is int and found > known:
        raise NewerModel(
            f"{document} was made by a newer release of housepredict: it has format {found}, and this release reads "
            f"format {known}. Upgrade housepredict"
        )
    if type(found) is not int or found != known:
        raise ValueError(f"format {found!r}, not {known}")


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
