"""The JSON documents that the HTTP API returns and `--json` prints, defined as attrs classes.

Each field reads its value from a domain object, by default from the attribute with the field's name. Domain classes can
be used as document classes, too.

The OpenAPI schemas are generated from the same classes. A schema is named after its class, without the suffix `Answer`,
and described by the class's docstring. Classes whose names end with `Part` are inlined into the schemas that use them.
The documents for problems and for the Open Inference Protocol are defined in separate modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from housepredict.domain.estimates import Calibration, Estimate, Explanation, Prediction, Unit
from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.drift import Movement
from housepredict.domain.evaluation.measures import RANGES, Accuracy, Bounds, Coverage, Segment
from housepredict.domain.features import Feature, Kind, Value
from housepredict.domain.models import Comparison, ModelVersion, Pointer
from housepredict.domain.sales import RealizedSale
from housepredict.domain.schema_inference.roles import Decision
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.training_status import TrainingState, TrainingStatus
from housepredict.domain.warnings import EstimateWarning
from housepredict.entrypoints.json_documents import (
    ABSENT,
    ITSELF,
    document,
    document_class,
    keywords,
    part,
    parts_of,
    spread,
)

Count = Annotated[int, keywords(minimum=0)]
Day = date  # for classes with a field named `date`
Price = Annotated[float, keywords(minimum=0, description="In the currency of the training sales, with two decimals.")]
MeasureName = Annotated[str, keywords(enum=(*RANGES, "coverage_80", "coverage_90"))]
OutOfRange = Annotated[
    Sequence[MeasureName],
    keywords(
        description="The measures outside their acceptable range. The ranges are the IAAO's, except that coverage is "
        "checked with an exact binomial test."
    ),
]
RejectedRows = Annotated[Mapping[str, Count], keywords(description="The number of rejected rows, by reason.")]
Notes = Annotated[Sequence[str], keywords(description="What was detected or repaired in the sales file.")]
Unmatched = Annotated[int, keywords(minimum=0, description="The number of sales whose prediction is not stored yet.")]


@document_class
class IntervalAnswer:
    low: Price
    high: Price


@document_class
class WarningAnswer:
    code: str = part(about="The type of warning, as a stable name to branch on.")
    message: str
    feature: str | None = part(about="The feature that caused the warning.", optional=True)


def _by_level(estimate: Estimate) -> Mapping[str, Any] | None:
    return {str(interval.level): interval for interval in estimate.intervals} or None


@document_class
class CertaintyPart:
    interval: Mapping[str, IntervalAnswer] | None = part(
        _by_level, "The prediction intervals, by level in percent. Null if the model has no intervals."
    )
    fsd: float | None = part(
        about="The forecast standard deviation, in percent of the price. Null if the model has no intervals."
    )


@document_class
class OriginPart:
    """Where an estimate comes from: the model version, the valuation date, and the remaining fields of the estimate.

    `others` copies the fields of Estimate into the document, except for those that other parts of the document contain.
    A new field of Estimate therefore appears in all documents automatically.
    """

    model_version: str = part(about="The model version that made the estimate.")
    generation: int | None = part(about="The generation number of the version's promotion. Null if unknown.")
    valued_on: date | None = part(about="The date for which the price is estimated.")
    others: Estimate = spread(
        ITSELF,
        without=("house", "price", "intervals", "fsd", "warnings", "model_version", "generation", "valued_on"),
    )


@document_class
class SharedPart:
    """The last fields of a prediction document. Their JSON is cached, because many predictions have the same values."""

    origin: OriginPart = spread(ITSELF)
    warnings: Sequence[WarningAnswer] = part(about="Reasons to trust the estimate less, such as unusual features.")


@document_class
class ContributionPart:
    features: Sequence[str] = part(about="The feature, or several features that the model treats as one.")
    contribution: float = part(about="The contribution to the estimate, in `unit`.")
    percent: float | None = part(
        about="The contribution as a percentage change in price if `unit` is `log_price`, otherwise null."
    )


def _contributions(explanation: Explanation) -> Sequence[ContributionPart]:
    in_logarithms = explanation.unit is Unit.LOG_PRICE
    return [
        ContributionPart(
            features=contribution.features,
            contribution=contribution.amount,
            percent=round(contribution.percent, 2) if in_logarithms else None,
        )
        for contribution in explanation.contributions
    ]


@document_class
class ExplanationAnswer:
    unit: Unit = part(about="The unit of `base` and of each contribution: the price, or its natural logarithm.")
    base: float = part(about="The average before any feature is taken into account, in `unit`.")
    base_price: Price = part(digits=2)
    contributions: Sequence[ContributionPart] = part(
        _contributions, "In the order of the features. Their sum plus `base` is the model's output."
    )


def _explanation(prediction: Prediction) -> Explanation | None:
    return getattr(prediction, "explanation", None)


@document_class
class PredictionAnswer:
    id: UUID = part(about="The id of the prediction, a UUIDv7.")
    prediction: Price = part(
        "estimate.price", "The estimated price, in the currency of the training sales, with two decimals."
    )
    input: Mapping[str, Any] = part("estimate.house.values", "The house, as sent by the client.")
    certainty: CertaintyPart = spread("estimate")
    shared: SharedPart = spread("estimate")
    explanation: ExplanationAnswer | None = part(_explanation, optional=True)


@document_class
class PredictionsAnswer:
    predictions: Sequence[PredictionAnswer] = part(about="One prediction per house, in the order of the request.")


@document_class
class ExportedPredictionAnswer:
    """A prediction in the format that the command line prints and exports to files."""

    id: UUID
    prediction: Price = part("estimate.price")
    input: Mapping[str, Any] = part("estimate.house.values")
    certainty: CertaintyPart = spread("estimate")
    origin: OriginPart = spread("estimate")
    created_at: datetime
    warnings: Sequence[EstimateWarning] = part("estimate.warnings")
    explanation: ExplanationAnswer | None = part(_explanation, optional=True)


@document_class
class RecordedPredictionAnswer:
    """A recorded prediction. The features of the house are included as additional fields."""

    id: UUID
    features: Mapping[str, Value] = spread("estimate.house.values")
    predicted_price: Price = part(
        "estimate.price", "The estimated price, in the currency of the training sales, with two decimals."
    )
    created_at: datetime
    certainty: CertaintyPart = spread("estimate")
    shared: SharedPart = spread("estimate")


RECORD_FIELDS = frozenset(part.name for part in parts_of(RecordedPredictionAnswer) if not part.is_mapping)
"""The fixed field names of a recorded prediction. No feature may have one of these names."""


@document_class
class BacklogAnswer:
    """The local queue of predictions that are not in the database yet."""

    pending: Count = part(about="The number of predictions in the queue.")
    oldest: datetime | None = part(about="When the oldest prediction in the queue was made.")
    dead_letters: Count = part(about="The number of predictions that the database rejected permanently.")
    database: Literal["available", "unavailable"] = part(
        lambda backlog: "unavailable" if backlog.reason else "available"
    )
    reason: str | None = part(lambda _: ABSENT, "Why the database is unavailable.", optional=True, nullable=True)


@document_class
class RecordedPredictionsAnswer:
    predictions: Sequence[RecordedPredictionAnswer] = part(ITSELF, "Newest first.")
    spool: BacklogAnswer | None = part(optional=True)


@document_class
class BinPart:
    bin: str = part("label")
    expected: float = part(about="The share of training sales in this bin, in percent.", digits=2)
    actual: float = part(about="The share of recent estimates in this bin, in percent.", digits=2)


@document_class
class ShiftPart:
    psi: float | None = part(about="The population stability index.", digits=4)
    chance: float | None = part(
        about="The 99th percentile of `psi` if nothing has drifted. A larger `psi` is unlikely to occur by chance.",
        digits=4,
    )
    movement: Movement = part(about="The size of the drift.")
    bins: Sequence[BinPart]


@document_class
class FeatureDriftPart:
    shift: ShiftPart = spread()
    out_of_range: float | None = part(
        about="The share of estimates with a warning about this feature, in percent.", digits=2
    )


@document_class
class DriftAnswer:
    model_version: str = part(about="The model version in service.")
    examined: Count = part(about="The number of predictions examined, made by any model version.")
    n: Count = part(about="The number of examined predictions made by the version in service.")
    since: datetime | None = part(about="When the oldest of the `n` predictions was made.")
    out_of_range: float | None = part(
        about="The share of the `n` predictions with a warning about any feature, in percent.", digits=2
    )
    estimates: ShiftPart
    features: Mapping[str, FeatureDriftPart] = part(lambda drift: {feature.name: feature for feature in drift.features})


def unmatched(sales: Sequence[RealizedSale]) -> int:
    """Count the sales whose prediction is not stored yet."""
    return sum(sale.prediction is None for sale in sales)


@document_class
class RecordedSaleAnswer:
    id: UUID = part("sale.id", "The id of the sale, a UUIDv7.")
    prediction: UUID = part("sale.prediction", "The id of the prediction for the house.")
    price: float = part("sale.price", "The sale price, in the currency of the estimates.")
    date: Day = part("sale.sold_on", "The date of the sale.")
    recorded_at: datetime = part("sale.recorded_at")
    status: Literal["matched", "unmatched"] = part(
        lambda sale: "matched" if sale.prediction else "unmatched",
        "`matched` if the prediction is stored, `unmatched` if it is not stored yet.",
    )
    estimate: float | None = part(
        lambda sale: sale.prediction and sale.prediction.price, "The estimated price. Null for an unmatched sale."
    )
    ratio: float | None = part(about="The estimate divided by the sale price. Null for an unmatched sale.")
    model_version: str | None = part(lambda sale: sale.prediction and sale.prediction.estimate.model_version)


@document_class
class RecordedSaleAloneAnswer:
    sale: RecordedSaleAnswer = spread(ITSELF)
    unmatched: Unmatched = part(lambda sale: unmatched([sale]))


@document_class
class RecordedSalesAnswer:
    sales: Sequence[RecordedSaleAnswer] = part(ITSELF)
    unmatched: Unmatched = part(unmatched)


@document_class
class SaleHistoryAnswer:
    sale: RecordedSaleAnswer = spread(lambda sales: sales[-1])
    history: Sequence[RecordedSaleAnswer] = part(ITSELF, "Every sale recorded for the prediction, oldest first.")


@document_class
class MeasuredAnswer:
    accuracy: Accuracy = spread()
    bounds: Mapping[str, Bounds]
    coverage: Sequence[Coverage]
    out_of_range: OutOfRange


@document_class
class AccuracyAnswer:
    since: date | None
    until: date | None
    sales: Count = part(
        "returned.sales",
        "The number of realized sales in the period, including those that were not measured.",
    )
    unmatched: Count = part("returned.unmatched", "The number of sales whose prediction is not stored yet.")
    estimated_after_sale: Count = part(
        "returned.estimated_after_sale",
        "The number of sales excluded because the estimate was made on or after the day of the sale.",
    )
    truncated: bool = part(
        "returned.truncated", "Whether only the latest sales are measured, because there are too many."
    )
    overall: MeasuredAnswer | None
    by_version: Mapping[str, MeasuredAnswer]


@document_class
class OutOfTimeEvaluationAnswer:
    """The out-of-time evaluation: a model is trained on earlier sales and evaluated on the most recent ones."""

    since: date = part(about="The date of the first held-out sale.")
    trained_on: Count = part(about="The number of training sales.")
    held_out: Count = part(about="The number of held-out sales.")
    measured: MeasuredAnswer = spread(ITSELF, without=["bounds"])


@document_class
class EvaluationAnswer:
    """The evaluation of a model version on held-out sales."""

    trained_on: Count = part(about="The number of training sales.")
    held_out: Count = part(about="The number of held-out sales.")
    measured: MeasuredAnswer = spread(ITSELF)
    price_tenths: Sequence[Segment] = part(about="The measures for each tenth of the held-out sales, ordered by price.")
    category: str | None = part(about="The feature whose values group the sales in `categories`.")
    categories: Sequence[Segment] = part(about="The measures for each value of `category`.")
    out_of_time: OutOfTimeEvaluationAnswer | None
    out_of_time_skipped: str | None = part(about="Why there is no out-of-time evaluation. Null if there is one.")


FittedAlgorithm = Annotated[
    Algorithm, keywords(enum=tuple(str(algorithm) for algorithm in Algorithm if algorithm is not Algorithm.AUTO))
]


@document_class
class FeaturePart:
    name: str
    kind: Kind
    unit: str | None
    required: bool


@document_class
class ModelAnswer:
    model_version: str = part("name", "The name of the version.")
    promoted: bool
    created_at: datetime
    algorithm: FittedAlgorithm
    source: str | None = part("source.location", is_public=False)
    synthetic: bool = part("source.synthetic", "Whether the version was trained on synthetic sales.")
    recorded: Count | None = part("source.recorded", "The number of recorded sales among the training sales.")
    rejected_rows: RejectedRows = part("source.rejected")
    notes: Notes = part("source.notes")
    valuation_date: date | None = part(about="The valuation date of estimates for houses without a sale date.")
    reproducible: bool = part(
        lambda version: version.irreproducible is None, "Whether retraining on the same sales produces the same model."
    )
    irreproducible: str | None = part(about="Why retraining may produce a different model.")
    intervals: IntervalChoice | None = part(
        about="How the prediction intervals were chosen and tested. Null for a version made by an older release."
    )
    features: Sequence[FeaturePart] = part("schema.features")
    evaluation: EvaluationAnswer
    generation: int | None = part(
        lambda _: ABSENT, "The generation number, which increases with each promotion.", optional=True, nullable=True
    )


@document_class
class SelfTestPart:
    house: Mapping[str, Value] = part("house.values")
    price: float


@document_class
class ModelVersionAnswer:
    model: ModelAnswer = spread(ITSELF, without=["generation"])
    features: Sequence[Feature] = part("schema.features")
    sale_date: str | None = part("schema.sale_date", "The feature that contains the sale date.")
    options: TrainingOptions
    source_digest: str = part("source.digest", "The SHA-256 of the training sales, in hexadecimal.")
    digests: Mapping[str, str] = part(about="The SHA-256 of each file in the version, in hexadecimal.")
    libraries: Mapping[str, str] = part(about="The versions of the libraries used for training.")
    calibration: Calibration | None
    self_test: Sequence[SelfTestPart] = part(
        about="Houses with their expected prices, which are checked when the version is loaded."
    )


@document_class
class ModelsAnswer:
    models: Sequence[ModelAnswer] = part(about="Oldest first.")
    promoted: str | None = part("name", "The name of the promoted version.")
    generation: int | None = part(about="The generation number, which increases with each promotion.")


def model_document(
    version: ModelVersion, promoted: str | None, kind: type = ModelAnswer, **values: object
) -> dict[str, Any]:
    """Build the document for a model version.

    Args:
        version: the model version.
        promoted: the name of the promoted version, or None.
        kind: the document class.
        **values: field values to use instead of reading them from `version`.
    """
    return document(version, kind, promoted=version.name == promoted, **values)


def models_document(versions: Sequence[ModelVersion], pointer: Pointer) -> dict[str, Any]:
    """Build the document that lists all model versions. `pointer` refers to the promoted version."""
    return document(pointer, ModelsAnswer, models=[model_document(version, pointer.name) for version in versions])


@document_class
class TrainingResultAnswer:
    """The result of `housepredict train`."""

    model: ModelAnswer = spread("version", without=["generation"])
    promoted: bool = part("verdict.promoted")
    reasons: Sequence[str] = part("verdict.reasons")
    comparison: Comparison | None = part("verdict.comparison")
    decisions: Sequence[Decision] = part("sales.decisions")
    unreadable_cells: Mapping[str, int] = part("sales.unreadable")


@document_class
class TrainedAnswer:
    message: str = part(lambda _: "Model retrained successfully")
    model_version: str = part("name", "The name of the new version.")
    promoted: bool
    reasons: Sequence[str] = part(about="Why the version was or wasn't promoted.")
    rejected_rows: RejectedRows = part("source.rejected")
    notes: Notes = part("source.notes")
    intervals: IntervalChoice | None
    evaluation: EvaluationAnswer


@document_class
class ProgressPart:
    done: Count = part(about="The number of completed steps.")
    total: Count = part(about="The total number of steps, or 0 while it is unknown.")


def _promoted(status: TrainingStatus) -> bool | None:
    return status.outcome.promoted if status.outcome and status.outcome.version else None


@document_class
class TrainingAnswer:
    id: UUID
    state: TrainingState
    started_at: datetime
    ended_at: datetime | None
    progress: ProgressPart = part(ITSELF)
    source: str | None = part("location", "The path of the sales file, or null if there is none.")
    synthetic: bool = part(about="Whether the training sales are synthetic.")
    with_recorded: bool = part(about="Whether the training sales include recorded sales.")
    cancelling: bool = part(about="Whether the training job is being cancelled.")
    model_version: str | None = part(
        lambda status: status.outcome and status.outcome.version, "The name of the new version."
    )
    promoted: bool | None = part(_promoted)
    reasons: Sequence[str] = part(
        lambda status: status.outcome.reasons if status.outcome else (), "Why the version was or wasn't promoted."
    )
    error: str | None = part(lambda status: status.outcome and status.outcome.error, "Why the training job failed.")


@document_class
class TrainingsAnswer:
    trainings: Sequence[TrainingAnswer] = part(ITSELF, "Newest first.")


@document_class
class ExampleRequestPart:
    url: str
    method: str
    body: Mapping[str, Any]


@document_class
class IndexAnswer:
    title: str
    version: str
    endpoints: Mapping[str, str] = part(about="A summary of each route.")
    example_request: ExampleRequestPart


@document_class
class HealthAnswer:
    status: Literal["healthy", "degraded"] = part(about="`degraded` if the service is not ready.")
    model_loaded: bool
    model_version: str | None


@document_class
class AliveAnswer:
    status: Literal["alive"]


@document_class
class ModelCheckPart:
    ok: bool
    reason: str | None = part(about="Why the check failed.", optional=True)
    model_version: str | None = part(about="The version in service.", optional=True)
    generation: int | None = part(
        about="The generation number of the version's promotion. Null if unknown.", optional=True, nullable=True
    )
    refused: str | None = part(
        about="Why the version in service may not be the promoted one: the promoted version failed a check, or the "
        "model store is unavailable.",
        optional=True,
    )


@document_class
class PredictionsCheckPart:
    ok: bool
    reason: str | None = part(about="Why the check failed.", optional=True)
    spool: BacklogAnswer | None = part(optional=True)


@document_class
class ChecksPart:
    model: ModelCheckPart
    predictions: PredictionsCheckPart

    @property
    def all_passed(self) -> bool:
        """Whether all checks passed, so that estimates can be made and recorded."""
        return self.model.ok and self.predictions.ok


@document_class
class ReadinessAnswer:
    status: Literal["ready", "not ready", "stopping"]
    checks: ChecksPart
