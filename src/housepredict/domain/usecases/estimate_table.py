"""Estimates of whole tables, row by row."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

from housepredict.domain.errors import InvalidHouses, UnreadableFile
from housepredict.domain.features import FeatureSchema
from housepredict.domain.ports import HouseTable, Outcome, PredictorSource, PriceTable, Progress
from housepredict.domain.usecases.predict import Predict
from housepredict.domain.validation import Rule, Violation, pointer_to

MAX_REJECTIONS = 1000
"""Of so many rows that were refused it is kept what was wrong with them; the table of prices says it of all."""

_RAGGED = InvalidHouses([Violation("", Rule.TYPE, "has another number of fields than the header")])


@frozen
class RefusedRow:
    """A row without an estimate: its number, 1 being the first below the header, and what is wrong with it."""

    row: int
    violations: Sequence[Violation]


@frozen
class EstimatedTable:
    """What became of a table: how many rows were estimated, by which version, and how many refused.

    `refusals` are the first of these, 1,000 at most. `notes` say what was decided to read the table.
    """

    model_version: str
    estimated: int
    refused: int
    refusals: Sequence[RefusedRow]
    notes: Sequence[str] = ()


@define
class EstimateTable:
    """Estimate the houses of a table and remember the estimates, a batch at a time: a table may be of any length."""

    _models: PredictorSource
    _predict: Predict
    _batch: int = 1000

    def __call__(self, table: HouseTable, prices: PriceTable, progress: Progress) -> EstimatedTable:
        """Estimate each row by itself, all by one version. What was estimated before a fault stays remembered.

        Raises InvalidHouses for a table that lacks the column of a feature, UnreadableFile, NoModel, RefusedModel or
        RepositoryUnavailable.
        """
        serving = self._models.current()
        schema = serving.version.schema
        houses = table.read(schema, self._batch)
        _check_columns(schema, houses.columns, prices.columns)
        done, estimated = 0, 0
        refusals: list[RefusedRow] = []
        for rows in houses.rows:
            whole = [house for house in rows.houses if house is not None]
            found = iter(self._predict.each(serving, whole))
            outcomes: list[Outcome] = [_RAGGED if house is None else next(found) for house in rows.houses]
            prices.write(rows, outcomes)
            for row, outcome in enumerate(outcomes, done + 1):
                if not isinstance(outcome, InvalidHouses):
                    estimated += 1
                elif len(refusals) < MAX_REJECTIONS:
                    refusals.append(RefusedRow(row, outcome.violations))
            done += len(outcomes)
            progress(done, houses.length)
        return EstimatedTable(serving.version.name, estimated, done - estimated, refusals, houses.notes)


def _check_columns(schema: FeatureSchema, columns: Sequence[str], added: Sequence[str]) -> None:
    if taken := [name for name in added if name in columns]:
        raise UnreadableFile(f"The houses have columns that prices are written to: rename {', '.join(taken)}")
    known = {feature.name for column in columns if (feature := schema.named(column))}
    missing = [each.name for each in schema.features if each.required and each.name not in known]
    if missing:
        message = "is a column that is missing"
        raise InvalidHouses([Violation(pointer_to(each), Rule.MISSING, message) for each in missing])
