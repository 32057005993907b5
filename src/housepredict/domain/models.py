"""Model versions: the manifest of a trained model, and its files (the artifact)."""

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


def require_format(actual: object, supported: int, document: str) -> None:
    """Check that this release supports the format number of a stored document, which is named in messages.

    Raises:
        NewerModel: if a newer release made the document.
        ValueError: if the number is otherwise not `supported`.
    """
    if type(actual) is int and actual > supported:
        raise NewerModel(
            f"{document} was made by a newer release of housepredict: it has format {actual}, but this release reads "
            f"format {supported}. Upgrade housepredict"
        )
    if type(actual) is not int or actual != supported:
        raise ValueError(f"format must be {supported}, not {actual!r}")


@frozen
class Performance:
    """The performance of one of the two models in a comparison.

    `error` is the mean of |ln(estimate / price)|. `coverage` is that of the 90% intervals, None without intervals, and
    `refused` the share of the held-out houses that the model can't estimate, both in percent.
    """

    error: float
    accuracy: Accuracy
    coverage: float | None
    refused: float


@frozen
class Comparison:
    """A comparison of a challenger with the champion (the `incumbent`) on the held-out sales that both can estimate.

    `better` is the share of bootstrap resamples, in percent, in which the challenger has the smaller error.
    """

    champion: str
    sales: int
    better: float
    challenger: Performance
    incumbent: Performance


@frozen
class Verdict:
    """The decision whether to promote a version, and its reasons, as sentences."""

    promoted: bool
    reasons: tuple[str, ...]
    comparison: Comparison | None = None


@frozen
class TrainingSource:
    """The source of a version's sales, in enough detail to read them again. Without a file and recorded sales, the
    sales are synthetic.

    Attributes:
        location: the location of the sales file; None without a file.
        digest: the SHA-256 of the sales, in hexadecimal.
        recorded: the number of recorded sales among them; None if recorded sales were not requested.
        read_on: the latest accepted sale date; None in a version of an older release, which has no `notes` either.
        rejected: the number of rejected rows by reason.
        notes: how the file was read, such as its encoding.
    """

    location: str | None
    digest: str
    recorded: int | None = None
    read_on: date | None = None
    rejected: Mapping[str, int] = field(factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether the sales are synthetic."""
        return self.location is None and self.recorded is None


@frozen
class SelfTest:
    """A house, and the price that the version must estimate for it before it goes into service."""

    house: House
    price: float


@frozen
class ModelVersion:
    """The manifest of a version: everything about a trained model but its arrays.

    Attributes:
        self_test: houses with the prices that the version must estimate for them.
        digests: the SHA-256 of each file of the artifact, in hexadecimal.
        libraries: the versions of the libraries used in the training.
        calibration: the calibration of the intervals; None if estimates have no intervals.
        irreproducible: why the same sales and options may train a different model; None if they train the same one.
        verdict: the decision of the promotion rule after the training; later promotions don't change it.
        intervals: the chosen kind of intervals; None in a version of an older release.
        signature: the signature of all other fields; None if the version is unsigned.
        document: the manifest as another release wrote it. Stores copy it unchanged, so that fields of a newer
            release are preserved, and its signature stays valid.
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
        """The date that estimates are for unless a house has a sale date; None for a model without dates."""
        return self.schema.valuation_date


@frozen
class Pointer:
    """The pointer of a model store to its promoted version; its name is None before the first promotion.

    `generation` grows with each promotion. It is None while the store is unavailable and `name` is the last known one.
    """

    name: str | None = None
    generation: int | None = 0


Artifact = Mapping[str, bytes]
"""The files of a version: the content of each by its name."""

MAX_FILE = 2**28
"""The largest size of a file of a version, in bytes. (Files of a model of 20,000 sales are under 2 MiB.)"""

MAX_ARTIFACT = 2**29
"""The largest total size of the files of a version, in bytes."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def digests_of(artifact: Artifact) -> dict[str, str]:
    """Compute the SHA-256 of each file, in hexadecimal."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in artifact.items()}


def version_name(created_at: datetime, artifact: Artifact) -> str:
    """Create a name that sorts by time, and that is unique among trainings of the same second."""
    content = created_at.isoformat() + "".join(
        f"{name}:{digest};" for name, digest in sorted(digests_of(artifact).items())
    )
    return f"{created_at:%Y%m%d-%H%M%S}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def is_plain(name: str) -> bool:
    """Whether a name is valid for a version or a file: safe as a path component in every store."""
    return _PLAIN_NAME.fullmatch(name) is not None


def verify(version: ModelVersion, artifact: Artifact) -> None:
    """Check that an artifact has exactly the files of a version, unchanged, and that every store can hold them.

    Raises:
        RefusedModel: if a file is missing, unexpected, changed or too large, or a name is invalid.
    """
    for name in (version.name, *version.digests):
        if not is_plain(name):
            raise RefusedModel(f"{name!r} is not a valid name for a model version or its files")
    if artifact.keys() != version.digests.keys():
        expected, actual = (", ".join(sorted(names)) or "none" for names in (version.digests, artifact))
        raise RefusedModel(f"Model version {version.name} is damaged: its files are {actual}, not {expected}")
    for name, content in artifact.items():
        if len(content) > MAX_FILE:
            raise RefusedModel(f"Model version {version.name} is too large: {name} has over {MAX_FILE:,} bytes")
    if sum(map(len, artifact.values())) > MAX_ARTIFACT:
        raise RefusedModel(f"Model version {version.name} is too large: over {MAX_ARTIFACT:,} bytes in total")
    if changed := sorted(name for name, digest in digests_of(artifact).items() if digest != version.digests[name]):
        files = f"{', '.join(changed)} {'was' if len(changed) == 1 else 'were'} changed"
        raise RefusedModel(f"Model version {version.name} is damaged: {files}")
