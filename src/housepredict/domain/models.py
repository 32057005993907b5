"""Model versions: the manifest and the artifact of a trained model."""

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
from housepredict.domain.training_options import Algorithm, TrainingOptions


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
    """The performance of a model on the sales of a comparison.

    `error` is the mean of |ln(estimate / price)|; `coverage`, in percent, is that of the 90% intervals, None without
    any; `refused` is the share of all held-out houses, in percent, without a price.
    """

    error: float
    accuracy: Accuracy
    coverage: float | None
    refused: float


@frozen
class Comparison:
    """A challenger and the champion on the held-out sales that both have a price for.

    `better` is the share of resamples, in percent, in which the challenger's error was below the champion's.
    """

    champion: str
    sales: int
    better: float
    challenger: Performance
    incumbent: Performance


@frozen
class Verdict:
    """Whether a version was promoted, and the reasons, as sentences."""

    promoted: bool
    reasons: tuple[str, ...]
    comparison: Comparison | None = None


@frozen
class TrainingSource:
    """The source of a version's sales, enough to read them again.

    `location` is None without a file. `recorded` is the number of recorded sales among them, None if none were wanted;
    without a file either, the sales are synthetic. `read_on` is the latest date that a sale could have at the training.
    `rejected` counts the rejected rows by reason, and `notes` say how the file was read. In a version of an older
    release these three are None or empty.
    """

    location: str | None
    digest: str
    recorded: int | None = None
    read_on: date | None = None
    rejected: Mapping[str, int] = field(factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether the sales were generated."""
        return self.location is None and self.recorded is None


@frozen
class SelfTest:
    """A house, and the price that a version must estimate for it before it serves."""

    house: House
    price: float


@frozen
class ModelVersion:
    """The manifest of a version: everything but the arrays.

    `digests` are the SHA-256 of the artifact's files, in hexadecimal; `libraries` are the versions that trained it.
    Without a `calibration`, estimates have no intervals. `irreproducible` is the reason why the same sales and options
    may make another version; None if they make the same. `verdict` is that of the promotion rule at the training;
    promotions by hand don't change it. `intervals` is None in a manifest of an older release. The `signature` is over
    all other fields; None if the version is unsigned. `document` is the manifest as another release wrote it: stores
    copy that, so that fields of a newer release and their signature stay.
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
        """The date that estimates are for unless a house has one."""
        return self.schema.valuation_date


@frozen
class Pointer:
    """The promoted version; None before the first promotion.

    `generation` grows with each promotion; None while the store is unavailable, and the last known version counts.
    """

    name: str | None = None
    generation: int | None = 0


Artifact = Mapping[str, bytes]
"""The files of a version: file name to content."""

MAX_FILE = 2**28
"""The largest file of a version, in bytes; a model of 20,000 sales has under 2 MiB."""

MAX_ARTIFACT = 2**29
"""The largest artifact, in bytes of all its files."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def digests_of(artifact: Artifact) -> dict[str, str]:
    """The SHA-256 of each file, in hexadecimal."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in artifact.items()}


def version_name(created_at: datetime, artifact: Artifact) -> str:
    """A name that sorts by time, and that differs for trainings of the same second."""
    content = created_at.isoformat() + "".join(
        f"{name}:{digest};" for name, digest in sorted(digests_of(artifact).items())
    )
    return f"{created_at:%Y%m%d-%H%M%S}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def is_plain(name: str) -> bool:
    """Whether a version or a file may have this name: every store can use it, also in a path."""
    return _PLAIN_NAME.fullmatch(name) is not None


def verify(version: ModelVersion, artifact: Artifact) -> None:
    """Check that these are the files of the version, unchanged, and that stores can hold them.

    Raises:
        RefusedModel: if they are not.
    """
    for name in (version.name, *version.digests):
        if not is_plain(name):
            raise RefusedModel(f"{name!r} is no name for a model version or a file of it")
    if artifact.keys() != version.digests.keys():
        expected, found = (", ".join(sorted(names)) or "none" for names in (version.digests, artifact))
        raise RefusedModel(f"Model version {version.name} is damaged: its files are {found}, not {expected}")
    for name, content in artifact.items():
        if len(content) > MAX_FILE:
            raise RefusedModel(f"{name} of model version {version.name} is too large: over {MAX_FILE} bytes")
    if sum(map(len, artifact.values())) > MAX_ARTIFACT:
        raise RefusedModel(f"The files of model version {version.name} are over {MAX_ARTIFACT} bytes together")
    changed = [name for name, digest in digests_of(artifact).items() if digest != version.digests[name]]
    if changed:
        raise RefusedModel(f"Model version {version.name} is damaged: {', '.join(sorted(changed))} was changed")
