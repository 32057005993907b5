"""Use case: estimate all houses in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, evolve, frozen

from housepredict.domain.errors import InvalidHouses, UnreadableFile
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import FeatureSchema, House
from housepredict.domain.ports import HouseTable, InService, PredictorSource, PriceTable, Progress, RowOutcome
from housepredict.domain.usecases.predict import Predict
from housepredict.domain.validation import Rule, Violation, pointer_to

MAX_REJECTIONS = 1000
"""Maximum number of rejected rows that `EstimatedTable` lists. The output table contains every rejected row."""

_MALFORMED = InvalidHouses([Violation("", Rule.TYPE, "number of fields differs from the header")])


@frozen
class RefusedRow:
    """A row that was rejected because its house is invalid.

    Attributes:
        row: the row number. The first row below the header is 1.
        violations: the violations of the house.
    """

    row: int
    violations: Sequence[Violation]


@frozen
class EstimatedTable:
    """The result of estimating a table.

    Attributes:
        model_version: the name of the model version that made the estimates.
        estimated: the number of estimated rows.
        refused: the number of rejected rows.
        refusals: the first 1,000 rejected rows.
        notes: facts about how the table was read, such as the detected encoding.
    """

    model_version: str
    estimated: int
    refused: int
    refusals: Sequence[RefusedRow]
    notes: Sequence[str] = ()


@define
class EstimateTable:
    """Estimate the houses in a table of any length, and store the predictions, batch by batch."""

    _models: PredictorSource
    _predict: Predict
    _batch: int = 1000

    def __call__(self, table: HouseTable, prices: PriceTable, progress: Progress) -> EstimatedTable:
        """Estimate each row with the version in service, and write the row with its prediction or its violations.

        An invalid row does not affect other rows. If an error is raised, predictions that are already stored are not
        removed.

        Args:
            table: the houses.
            prices: the output table.
            progress: a function that is called after each batch.

        Raises:
            InvalidHouses: if the column for a required feature is missing.
            UnreadableFile: if the table can't be read, or a column name is reserved for the results.
            NoModel: if no version is in service.
            RepositoryUnavailable: if predictions can't be stored.
        """
        serving = self._models.current()
        schema = serving.version.schema
        houses = table.read(schema, self._batch)
        _check_columns(schema, houses.columns, prices.columns)
        done, estimated = 0, 0
        refusals: list[RefusedRow] = []
        for rows in houses.rows:
            outcomes = self._estimate(serving, rows.houses)
            prices.write(rows, outcomes)
            for row, outcome in enumerate(outcomes, done + 1):
                if not isinstance(outcome, InvalidHouses):
                    estimated += 1
                elif len(refusals) < MAX_REJECTIONS:
                    refusals.append(RefusedRow(row, outcome.violations))
            done += len(outcomes)
            progress(done, houses.length)
        return EstimatedTable(serving.version.name, estimated, done - estimated, refusals, houses.notes)

    def _estimate(self, serving: InService, rows: Sequence[object]) -> Sequence[RowOutcome]:
        """Estimate the valid houses in a batch of rows. Returns a prediction or the violations for each row."""
        outcomes: dict[int, RowOutcome] = {}
        houses: dict[int, House] = {}
        for position, row in enumerate(rows):
            if row is None:
                outcomes[position] = _MALFORMED
                continue
            try:
                (houses[position],) = serving.version.schema.houses([row])
            except InvalidHouses as error:
                outcomes[position] = error.alone()
        try:
            predictions = self._store(serving, houses)
        except InvalidHouses as error:
            # The model can't estimate some of the houses. Estimate the others without them.
            positions = list(houses)
            for violation in error.violations:
                position = positions[int(violation.pointer.removeprefix("/"))]
                outcomes[position] = InvalidHouses([evolve(violation, pointer="")])
                del houses[position]
            predictions = self._store(serving, houses)
        outcomes.update(zip(houses, predictions, strict=True))
        return [outcomes[position] for position in range(len(rows))]

    def _store(self, serving: InService, houses: Mapping[int, House]) -> Sequence[Prediction]:
        return self._predict.store(serving, list(houses.values())) if houses else []


def _check_columns(schema: FeatureSchema, columns: Sequence[str], added: Sequence[str]) -> None:
    if taken := [name for name in added if name in columns]:
        raise UnreadableFile(f"{', '.join(taken)}: reserved for the results; rename the column")
    known = {feature.name for column in columns if (feature := schema.named(column))}
    missing = [feature.name for feature in schema.features if feature.required and feature.name not in known]
    if missing:
        message = "required column is missing"
        raise InvalidHouses([Violation(pointer_to(name), Rule.MISSING, message) for name in missing])
