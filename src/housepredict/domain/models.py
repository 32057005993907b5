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
    """Check that this release can read a stored document.

    Args:
        actual: the document's format number.
        supported: the format number that this release reads.
        document: the document's name, for error messages.

    Raises:
        NewerModel: if the document was made by a newer release.
        ValueError: if the format number is invalid.
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

    Attributes:
        error: the mean of |ln(estimate / sale price)|.
        accuracy: further measures of the errors.
        coverage: the share of sale prices inside the 90% intervals, in percent, or None if there are no intervals.
        refused: the share of held-out houses that the model can't estimate, in percent.
    """

    error: float
    accuracy: Accuracy
    coverage: float | None
    refused: float


@frozen
class Comparison:
    """A comparison of the challenger and the champion on the held-out sales that both can estimate.

    Attributes:
        champion: the name of the champion.
        sales: the number of sales used for the comparison.
        better: the share of bootstrap resamples in which the challenger's error is smaller, in percent.
        challenger: the performance of the challenger.
        incumbent: the performance of the champion.
    """

    champion: str
    sales: int
    better: float
    challenger: Performance
    incumbent: Performance


@frozen
class Verdict:
    """The decision whether to promote a version.

    Attributes:
        promoted: whether the version is promoted.
        reasons: the reasons for the decision, as full sentences.
        comparison: the comparison with the champion, or None if they were not compared.
    """

    promoted: bool
    reasons: tuple[str, ...]
    comparison: Comparison | None = None


@frozen
class TrainingSource:
    """Where a version's sales came from, in enough detail to read them again.

    If there is neither a file nor recorded sales, the sales are synthetic.

    Attributes:
        location: the location of the sales file, or None if there is no file.
        digest: the SHA-256 of the sales, in hexadecimal.
        recorded: the number of recorded sales among the sales, or None if recorded sales were not requested.
        read_on: the latest accepted sale date. Sales with later dates were rejected, as they were in the future. None
            if the version was trained by an older release.
        rejected: the number of rejected rows, by reason.
        notes: how the file was read, such as the detected encoding. Empty if the version was trained by an older
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
        """Whether the sales are synthetic."""
        return self.location is None and self.recorded is None


@frozen
class SelfTest:
    """A self-test case: a house and its estimate. A version that estimates another price is not put into service.

    Attributes:
        house: the house.
        price: the price that the version must estimate.
    """

    house: House
    price: float


@frozen
class ModelVersion:
    """The manifest of a version: everything about a trained model except its arrays.

    Attributes:
        self_test: houses with the prices that the version must estimate for them.
        digests: the SHA-256 of each artifact file, in hexadecimal, by file name.
        libraries: the version of each library used for training, by library name.
        calibration: the calibration of the intervals, or None if estimates have no intervals.
        irreproducible: why training again with the same sales and options may produce a different model, or None if
            the training is reproducible.
        verdict: the promotion decision made right after training. Later promotions don't change it.
        intervals: the chosen kind of intervals, or None if the version was trained by an older release.
        signature: the signature of all other fields, or None if the version is unsigned.
        document: the original manifest if another release wrote it in a different form, otherwise None. Stores copy
            this document, so fields added by newer releases are preserved and the signature stays valid.
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
        """The date that estimates are for if a house has no sale date, or None if the model does not use dates."""
        return self.schema.valuation_date


@frozen
class Pointer:
    """A model store's pointer to the promoted version.

    Attributes:
        name: the name of the promoted version, or None before the first promotion. While the store is unavailable, this
            is the last known name.
        generation: a number that increases with each promotion and rollback. None while the store is unavailable.
    """

    name: str | None = None
    generation: int | None = 0


Artifact = Mapping[str, bytes]
"""The files of a version: a mapping of file names to contents."""

MAX_FILE = 2**28
"""Maximum size of each artifact file, in bytes. (With 20,000 training sales, files are below 2 MiB.)"""

MAX_ARTIFACT = 2**29
"""Maximum total size of a version's artifact files, in bytes."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def digests_of(artifact: Artifact) -> dict[str, str]:
    """Return the SHA-256 of each file, in hexadecimal, by file name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in artifact.items()}


def version_name(created_at: datetime, artifact: Artifact) -> str:
    """Create a name for a version.

    Names sort by time. They also contain a digest, so that versions created in the same second have different names.
    """
    content = created_at.isoformat() + "".join(
        f"{name}:{digest};" for name, digest in sorted(digests_of(artifact).items())
    )
    return f"{created_at:%Y%m%d-%H%M%S}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def is_plain(name: str) -> bool:
    """Return whether a version or an artifact file may have this name.

    Only names that all stores can safely use as part of a path are allowed.
    """
    return _PLAIN_NAME.fullmatch(name) is not None


def verify(version: ModelVersion, artifact: Artifact) -> None:
    """Check that the artifact files match the manifest, and that all stores can store them.

    Raises:
        RefusedModel: if a file is missing, unexpected, changed or too large, or if a name is invalid.
    """
    for name in (version.name, *version.digests):
        if not is_plain(name):
            raise RefusedModel(f"{name!r} is not a valid name for a model version or its files")
    if artifact.keys() != version.digests.keys():
        expected, actual = (", ".join(sorted(names)) or "none" for names in (version.digests, artifact))
        raise RefusedModel(f"Model version {version.name} is damaged: expected files {expected}, found {actual}")
    for name, content in artifact.items():
        if len(content) > MAX_FILE:
            raise RefusedModel(f"Model version {version.name} is too large: {name} has over {MAX_FILE:,} bytes")
    if sum(map(len, artifact.values())) > MAX_ARTIFACT:
        raise RefusedModel(f"Model version {version.name} is too large: over {MAX_ARTIFACT:,} bytes in total")
    if changed := sorted(name for name, digest in digests_of(artifact).items() if digest != version.digests[name]):
        files = f"{', '.join(changed)} {'was' if len(changed) == 1 else 'were'} changed"
        raise RefusedModel(f"Model version {version.name} is damaged: {files}")
