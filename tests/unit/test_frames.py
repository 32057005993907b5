"""Data frames in and out: what becomes of their rows becomes of the same houses as mappings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.entrypoints.api import Prices
from tests.http_service import LAB_SCHEMA, SureModel, application, sure_version

SCHEMA = FeatureSchema(
    (
        *LAB_SCHEMA.features,
        Feature("pool", Kind.BOOLEAN, required=False),
        Feature("zip", Kind.CATEGORY, required=False, categories=("98101",)),
        Feature("sold", Kind.DATE, required=False),
    ),
    sale_date="sold",
)
BOUNDS = ["low_80", "high_80", "low_90", "high_90"]

Rows = Sequence[dict[str, Any]]


def some_prices() -> Prices:
    version, artefact = sure_version()
    return Prices(application((evolve(version, schema=SCHEMA), artefact), load=SureModel, max_batch=3))


def in_pandas(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(rows[0]), index=[f"row {each}" for each in range(len(rows))])


def with_types_that_may_lack_values(rows: Rows) -> pd.DataFrame:
    frame = in_pandas(rows).astype({"bedrooms": "Int64", "pool": "boolean", "zip": "category"})
    return frame.assign(sold=pd.to_datetime(frame["sold"]))


def in_polars(rows: Rows) -> pl.DataFrame:
    types = {"size": pl.Float64, "bedrooms": pl.Int32, "age": pl.Int8, "pool": pl.Boolean}
    types |= {"zip": pl.Categorical, "sold": pl.Date}
    return pl.DataFrame(list(rows), schema=types)


def in_arrow(rows: Rows) -> pa.Table:
    return in_polars(rows).to_arrow()


houses = st.fixed_dictionaries(
    {
        "size": st.floats(1, 10_000),
        "bedrooms": st.none() | st.integers(1, 9),
        "age": st.integers(0, 99),
        "pool": st.none() | st.booleans(),
        "zip": st.none() | st.sampled_from(["98101", "somewhere"]),
        "sold": st.none() | st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    }
)


def said(predictions: Sequence[Prediction]) -> list[Any]:
    return [
        (
            each.estimate.house.values,
            each.price,
            each.estimate.valued_on,
            [bound for _, *bounds in each.estimate.intervals for bound in bounds],
            "; ".join(caveat.message for caveat in each.estimate.caveats) or None,
        )
        for each in predictions
    ]


def outcome(estimate: Callable[[], Sequence[Prediction]]) -> Any:
    try:
        return said(estimate())
    except InvalidHouses as error:
        return [(each.pointer, each.rule) for each in error.violations]


@pytest.mark.parametrize("framed", [in_pandas, with_types_that_may_lack_values, in_polars, in_arrow])
def test_a_frame_is_estimated_as_its_rows_are(framed: Callable[[Rows], Any]) -> None:
    @given(st.lists(houses, min_size=1, max_size=3))
    def property_of(rows: list[dict[str, Any]]) -> None:
        prices, frame = some_prices(), framed(rows)
        present = [{name: value for name, value in row.items() if value is not None} for row in rows]
        expected = outcome(lambda: prices.predict_many(present))
        if not any(row["bedrooms"] is None for row in rows):
            made = prices.predict(frame)
            assert type(made) is type(frame)
            recorded = prices.predictions(len(rows))[::-1]
            assert said(recorded) == expected
            columns: dict[str, Any] = {name: column_of(made, name) for name in made_columns(made)}
            assert columns["prediction_id"] == [str(each.id) for each in recorded]
            assert columns["predicted_price"] == [each.price for each in recorded]
            bounds = list(zip(*(columns[name] for name in BOUNDS), strict=True))
            assert bounds == [tuple(each[3]) for each in expected]
            assert columns["caveats"] == [each[4] for each in expected]
        else:
            assert outcome(lambda: prices.predict(frame)) == expected

    property_of()


def made_columns(frame: Any) -> list[str]:
    return list(frame.column_names if isinstance(frame, pa.Table) else frame.columns)


def column_of(frame: Any, name: str) -> list[Any]:
    if isinstance(frame, pd.DataFrame):
        return [None if pd.isna(each) else each for each in frame[name]]
    column: list[Any] = frame[name].to_pylist() if isinstance(frame, pa.Table) else frame[name].to_list()
    return column


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([7, 7, 3], name="house"),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
        pd.DatetimeIndex(["2025-01-01"] * 3),
    ],
    ids=["repeated", "multiple", "times"],
)
def test_the_index_stays(index: pd.Index) -> None:
    frame = pd.DataFrame({"size": [2500, 1000, 500], "bedrooms": 3, "age": 10, "price": [1, 2, 3]}, index=index)
    made = some_prices().predict(frame)
    assert made.index.equals(index)
    assert made.index.names == index.names
    assert made["predicted_price"].iloc[0] == 254206.02
    assert list(frame.join(made[["predicted_price"]].reset_index(drop=True)).columns) == [
        *frame.columns,
        "predicted_price",
    ]


@pytest.mark.parametrize(
    "missing", [None, np.nan, pd.NaT, pd.NA, float("nan")], ids=["None", "numpy", "NaT", "NA", "float"]
)
def test_what_is_missing_in_any_way_is_missing(missing: Any) -> None:
    row = {"size": 2500, "bedrooms": 3, "age": 10}
    frame = pd.DataFrame([{**row, "pool": True, "zip": 98101, "sold": date(2025, 1, 1)}, row], dtype=object)
    frame.loc[1, ["pool", "zip", "sold"]] = missing
    prices = some_prices()
    prices.predict(frame)
    second, first = prices.predictions(2)
    assert first.estimate.house.values == {**row, "pool": True, "zip": "98101", "sold": "2025-01-01"}
    assert second.estimate.house.values == row


def test_whole_numbers_that_became_floats_are_whole() -> None:
    frame = pd.DataFrame({"size": [2500, 2500], "bedrooms": [3, 3], "age": [10, 10], "zip": [98101, np.nan]})
    prices = some_prices()
    prices.predict(frame.astype({"bedrooms": float}))
    second, first = prices.predictions(2)
    assert (first.estimate.house.values["zip"], "zip" in second.estimate.house.values) == ("98101", False)
    assert type(first.estimate.house.values["bedrooms"]) is int


def test_times_and_decimals_are_dates_and_numbers() -> None:
    values = {"size": Decimal("2500.5"), "bedrooms": 3, "age": 10, "sold": datetime(2025, 6, 1, 12, tzinfo=UTC)}
    prices = some_prices()
    for frame in (pd.DataFrame([values]), pl.DataFrame([values])):
        prices.predict(frame)
        (recorded,) = prices.predictions(1)
        assert recorded.estimate.house.values == {"size": 2500.5, "bedrooms": 3, "age": 10, "sold": "2025-06-01"}


def test_every_violation_is_told_with_its_row_and_nothing_is_recorded() -> None:
    frame = pd.DataFrame({"size": [2500, -1, "big", 2500], "age": [10, 1.5, 1, 1]})
    prices = some_prices()
    with pytest.raises(InvalidHouses) as caught:
        prices.predict(frame)
    assert [each.pointer for each in caught.value.violations] == ["/bedrooms", "/1/size", "/1/age", "/2/size"]
    assert list(prices.predictions()) == []


def test_more_houses_than_a_batch_are_estimated_or_none() -> None:
    frame = pl.DataFrame({"size": [1000.0] * 9 + [1e14], "bedrooms": [1] * 10, "age": [1] * 10})
    prices = some_prices()
    with pytest.raises(InvalidHouses, match="/9: lies so far outside"):
        prices.predict(frame)
    assert list(prices.predictions()) == []
    assert len(prices.predict(frame[:9])) == len(prices.predictions(100)) == 9


@pytest.mark.parametrize(
    "given",
    [[], [{"size": 1}], pd.Series([1]), pl.LazyFrame({"size": [1]}), None, "house"],
    ids=["empty", "list", "series", "lazy", "none", "text"],
)
def test_what_is_neither_a_house_nor_a_frame_is_a_mistake(given: Any) -> None:
    with pytest.raises(TypeError, match="a house is a mapping"):
        some_prices().predict(given)


def test_frames_are_not_explained() -> None:
    frame: Any = pd.DataFrame({"size": [2500], "bedrooms": [3], "age": [10]})
    with pytest.raises(TypeError, match="predict_many"):
        some_prices().predict(frame, explain=True)


def test_an_empty_frame_is_refused_as_an_empty_list_is() -> None:
    with pytest.raises(InvalidHouses, match="at least one house"):
        some_prices().predict(pd.DataFrame({"size": [], "bedrooms": [], "age": []}))
