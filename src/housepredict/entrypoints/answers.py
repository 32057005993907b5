"""Every answer as an attrs class: HTTP sends it, `--json` prints it, and the OpenAPI document describes it.

Each field reads its value from the domain object that the answer is about, by default from the attribute of the same
name. Domain classes can be answers. A schema takes its name from the class, without `Answer`, and its description from
the docstring; a `Part` is inlined in the schema around it. Problems and the Open Inference Protocol are elsewhere.
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
Day = date  # in a class with a field of the name `date`
Price = Annotated[float, keywords(minimum=0, description="In the currency of the sales, two decimals.")]
MeasureName = Annotated[str, keywords(enum=(*RANGES, "coverage_80", "coverage_90"))]
OutOfRange = Annotated[
    Sequence[MeasureName],
    keywords(
        description="The measures that are not acceptable: by the ranges of the IAAO, or for coverage by an exact "
        "binomial test."
    ),
]
RejectedRows = Annotated[
    Mapping[str, Count], keywords(description="How many rows of the sales were rejected, by reason.")
]
Notes = Annotated[Sequence[str], keywords(description="How the file of sales was read: what was guessed or repaired.")]
Unmatched = Annotated[int, keywords(minimum=0, description="How many are sales of predictions that nobody knows yet.")]


@document_class
class IntervalAnswer:
    low: Price
    high: Price


@document_class
class WarningAnswer:
    code: str
    message: str
    feature: str | None = part(about="The feature that it is about.", optional=True)


def _by_level(estimate: Estimate) -> Mapping[str, Any] | None:
    return {str(each.level): each for each in estimate.intervals} or None


@document_class
class CertaintyPart:
    interval: Mapping[str, IntervalAnswer] | None = part(
        _by_level, "By level, in percent; null for a model that cannot tell how sure it is."
    )
    fsd: float | None = part(about="The forecast standard deviation, in percent of the price.")


@document_class
class OriginPart:
    """What answers say of an estimate beside its house, its price, how certain it is, and its warnings.

    A field that is added to Estimate is among the `others`, and so in every answer, without a line in entrypoints.
    """

    model_version: str
    generation: int | None = part(about="The promotion by which the version served.")
    valued_on: date | None = part(about="The date that the price holds for.")
    others: Estimate = spread(
        ITSELF,
        without=("house", "price", "intervals", "fsd", "warnings", "model_version", "generation", "valued_on"),
    )


@document_class
class SharedPart:
    """The end of an answer, which many estimates have in common."""

    origin: OriginPart = spread(ITSELF)
    warnings: Sequence[WarningAnswer] = part(about="Why the estimate deserves less trust.")


@document_class
class ContributionPart:
    features: Sequence[str]
    contribution: float
    percent: float | None


def _contributions(explanation: Explanation) -> Sequence[ContributionPart]:
    """The contributions, with percentages of those to a logarithm."""
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
    unit: Unit
    base: float = part(about="What the model says of a house that it knows nothing of, in the unit.")
    base_price: Price = part(digits=2)
    contributions: Sequence[ContributionPart] = part(_contributions)


def _explanation(prediction: Prediction) -> Explanation | None:
    return getattr(prediction, "explanation", None)


@document_class
class PredictionAnswer:
    id: UUID
    prediction: Price = part("estimate.price")
    input: Mapping[str, Any] = part("estimate.house.values", "The house, as it was sent.")
    certainty: CertaintyPart = spread("estimate")
    shared: SharedPart = spread("estimate")
    explanation: ExplanationAnswer | None = part(_explanation, optional=True)


@document_class
class PredictionsAnswer:
    predictions: Sequence[PredictionAnswer] = part(about="One for each house, in order.")


@document_class
class ExportedPredictionAnswer:
    """A prediction on the command line and in files."""

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
    """A prediction that was recorded. The features of the house stand beside these fields."""

    id: UUID
    features: Mapping[str, Value] = spread("estimate.house.values")
    predicted_price: Price = part("estimate.price")
    created_at: datetime
    certainty: CertaintyPart = spread("estimate")
    shared: SharedPart = spread("estimate")


RECORD_FIELDS = frozenset(part.name for part in parts_of(RecordedPredictionAnswer) if not part.is_mapping)
"""The fields of a recorded prediction beside its features: no feature may have such a name."""


@document_class
class BacklogAnswer:
    """What has not reached the database yet."""

    pending: Count
    oldest: datetime | None
    dead_letters: Count
    database: Literal["available", "unavailable"] = part(
        lambda backlog: "unavailable" if backlog.reason else "available"
    )
    reason: str | None = part(lambda _: ABSENT, optional=True, nullable=True)


@document_class
class RecordedPredictionsAnswer:
    predictions: Sequence[RecordedPredictionAnswer] = part(ITSELF, "Newest first.")
    spool: BacklogAnswer | None = part(optional=True)


@document_class
class BinPart:
    bin: str = part("label")
    expected: float = part(digits=2)
    actual: float = part(digits=2)


@document_class
class ShiftPart:
    psi: float | None = part(about="The population stability index.", digits=4)
    chance: float | None = part(about="What it stays below in 99 of 100 cases if nothing moved.", digits=4)
    movement: Movement
    bins: Sequence[BinPart]


@document_class
class FeatureDriftPart:
    shift: ShiftPart = spread()
    out_of_range: float | None = part(digits=2)


@document_class
class DriftAnswer:
    model_version: str
    examined: Count
    n: Count
    since: datetime | None
    out_of_range: float | None = part(about="The share of the estimates that warn of a feature, in percent.", digits=2)
    estimates: ShiftPart
    features: Mapping[str, FeatureDriftPart] = part(lambda drift: {feature.name: feature for feature in drift.features})


def unmatched(sales: Sequence[RealizedSale]) -> int:
    """How many are sales of predictions that nobody knows yet."""
    return sum(each.prediction is None for each in sales)


@document_class
class RecordedSaleAnswer:
    id: UUID = part("sale.id")
    prediction: UUID = part("sale.prediction", "The id of the prediction that it is the sale of.")
    price: float = part("sale.price")
    date: Day = part("sale.sold_on")
    recorded_at: datetime = part("sale.recorded_at")
    status: Literal["matched", "unmatched"] = part(lambda sale: "matched" if sale.prediction else "unmatched")
    estimate: float | None = part(
        lambda sale: sale.prediction and sale.prediction.price, "What was estimated, if the prediction is known."
    )
    ratio: float | None = part(about="estimate / price.")
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
    history: Sequence[RecordedSaleAnswer] = part(ITSELF, "Oldest first.")


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
    sales: Count = part("returned.sales")
    unmatched: Count = part("returned.unmatched")
    estimated_after_sale: Count = part("returned.estimated_after_sale")
    truncated: bool = part("returned.truncated")
    overall: MeasuredAnswer | None
    by_version: Mapping[str, MeasuredAnswer]


@document_class
class OutOfTimeEvaluationAnswer:
    since: date
    trained_on: Count
    held_out: Count
    measured: MeasuredAnswer = spread(ITSELF, without=["bounds"])


@document_class
class EvaluationAnswer:
    trained_on: Count
    held_out: Count
    measured: MeasuredAnswer = spread(ITSELF)
    price_tenths: Sequence[Segment]
    category: str | None
    categories: Sequence[Segment]
    out_of_time: OutOfTimeEvaluationAnswer | None
    out_of_time_skipped: str | None


FittedAlgorithm = Annotated[
    Algorithm, keywords(enum=tuple(str(each) for each in Algorithm if each is not Algorithm.AUTO))
]


@document_class
class FeaturePart:
    name: str
    kind: Kind
    unit: str | None
    required: bool


@document_class
class ModelAnswer:
    model_version: str = part("name")
    promoted: bool
    created_at: datetime
    algorithm: FittedAlgorithm
    source: str | None = part("source.location", is_public=False)
    synthetic: bool = part("source.synthetic", "Whether the sales that it learned from were made up.")
    recorded: Count | None = part("source.recorded", "How many of them came back of houses that were estimated.")
    rejected_rows: RejectedRows = part("source.rejected")
    notes: Notes = part("source.notes")
    valuation_date: date | None = part(about="The date that estimates are for where a house does not say.")
    reproducible: bool = part(lambda version: version.irreproducible is None)
    irreproducible: str | None = part(about="Why the same sales may make another version.")
    intervals: IntervalChoice | None = part(
        about="Which intervals it has, and why; null for a version of an older release."
    )
    features: Sequence[FeaturePart] = part("schema.features")
    evaluation: EvaluationAnswer
    generation: int | None = part(lambda _: ABSENT, "Grows with each promotion.", optional=True, nullable=True)


@document_class
class SelfTestPart:
    house: Mapping[str, Value] = part("house.values")
    price: float


@document_class
class ModelVersionAnswer:
    model: ModelAnswer = spread(ITSELF, without=["generation"])
    features: Sequence[Feature] = part("schema.features")
    sale_date: str | None = part("schema.sale_date")
    options: TrainingOptions
    source_digest: str = part("source.digest")
    digests: Mapping[str, str]
    libraries: Mapping[str, str]
    calibration: Calibration | None
    self_test: Sequence[SelfTestPart]


@document_class
class ModelsAnswer:
    models: Sequence[ModelAnswer] = part(about="Oldest first.")
    promoted: str | None = part("name")
    generation: int | None = part(about="Grows with each promotion.")


def model_document(
    version: ModelVersion, promoted: str | None, kind: type = ModelAnswer, **given: object
) -> dict[str, Any]:
    """Make the document of a version, where the version of the name `promoted` is promoted."""
    return document(version, kind, promoted=version.name == promoted, **given)


def models_document(versions: Sequence[ModelVersion], pointer: Pointer) -> dict[str, Any]:
    """Make the document of all versions."""
    return document(pointer, ModelsAnswer, models=[model_document(each, pointer.name) for each in versions])


@document_class
class TrainingResultAnswer:
    """What `housepredict train` answers, of a Training."""

    model: ModelAnswer = spread("version", without=["generation"])
    promoted: bool = part("verdict.promoted")
    reasons: Sequence[str] = part("verdict.reasons")
    comparison: Comparison | None = part("verdict.comparison")
    decisions: Sequence[Decision] = part("sales.decisions")
    unreadable_cells: Mapping[str, int] = part("sales.unreadable")


@document_class
class TrainedAnswer:
    message: str = part(lambda _: "Model retrained successfully")
    model_version: str = part("name")
    promoted: bool
    reasons: Sequence[str]
    rejected_rows: RejectedRows = part("source.rejected")
    notes: Notes = part("source.notes")
    intervals: IntervalChoice | None
    evaluation: EvaluationAnswer


@document_class
class ProgressPart:
    done: Count
    total: Count


def _promoted(status: TrainingStatus) -> bool | None:
    return status.outcome.promoted if status.outcome and status.outcome.version else None


@document_class
class TrainingAnswer:
    id: UUID
    state: TrainingState
    started_at: datetime
    ended_at: datetime | None
    progress: ProgressPart = part(ITSELF)
    source: str | None = part("location", "Where the sales are; null if they are synthetic or came back alone.")
    synthetic: bool
    with_recorded: bool
    cancelling: bool
    model_version: str | None = part(lambda status: status.outcome and status.outcome.version)
    promoted: bool | None = part(_promoted)
    reasons: Sequence[str] = part(lambda status: status.outcome.reasons if status.outcome else ())
    error: str | None = part(lambda status: status.outcome and status.outcome.error)


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
    endpoints: Mapping[str, str] = part(about="What each route does.")
    example_request: ExampleRequestPart


@document_class
class HealthAnswer:
    status: Literal["healthy", "degraded"]
    model_loaded: bool
    model_version: str | None


@document_class
class AliveAnswer:
    status: Literal["alive"]


@document_class
class ModelCheckPart:
    ok: bool
    reason: str | None = part(about="Why not.", optional=True)
    model_version: str | None = part(about="The version in service.", optional=True)
    generation: int | None = part(about="The promotion by which that version serves.", optional=True, nullable=True)
    refused: str | None = part(about="Why what serves is not what is promoted.", optional=True)


@document_class
class PredictionsCheckPart:
    ok: bool
    reason: str | None = part(about="Why not.", optional=True)
    spool: BacklogAnswer | None = part(optional=True)


@document_class
class ChecksPart:
    model: ModelCheckPart
    predictions: PredictionsCheckPart

    @property
    def all_passed(self) -> bool:
        """Whether an estimate can be given and recorded."""
        return self.model.ok and self.predictions.ok


@document_class
class ReadinessAnswer:
    status: Literal["ready", "not ready", "stopping"]
    checks: ChecksPart
