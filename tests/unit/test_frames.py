"""Data frames as input and output: their rows are estimated like the same houses as mappings."""

from __future__ import annotations

import math
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
from housepredict.entrypoints.python import Prices
from tests.http_service import LAB_SCHEMA, CalibratedLabModel, application, calibrated_version

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


def make_prices() -> Prices:
    version, artifact = calibrated_version()
    return Prices(application((evolve(version, schema=SCHEMA), artifact), load=CalibratedLabModel, max_batch=3))


def to_pandas(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(rows[0]), index=[f"row {each}" for each in range(len(rows))])


def to_nullable_pandas(rows: Rows) -> pd.DataFrame:
    frame = to_pandas(rows).astype({"bedrooms": "Int64", "pool": "boolean", "zip": "category"})
    return frame.assign(sold=pd.to_datetime(frame["sold"]))


def to_polars(rows: Rows) -> pl.DataFrame:
    types = {"size": pl.Float64, "bedrooms": pl.Int32, "age": pl.Int8, "pool": pl.Boolean}
    types |= {"zip": pl.Categorical, "sold": pl.Date}
    return pl.DataFrame(list(rows), schema=types)


def to_arrow_table(rows: Rows) -> pa.Table:
    return to_polars(rows).to_arrow()


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


def summarize(predictions: Sequence[Prediction]) -> list[Any]:
    return [
        (
            each.estimate.house.values,
            each.price,
            each.estimate.valued_on,
            [bound for _, *bounds in each.estimate.intervals for bound in bounds],
            "; ".join(warning.message for warning in each.estimate.warnings) or None,
        )
        for each in predictions
    ]


def outcome(estimate: Callable[[], Sequence[Prediction]], *, words: bool = False) -> Any:
    try:
        return summarize(estimate())
    except InvalidHouses as error:
        return [(each.pointer, each.rule, each.message if words else "") for each in error.violations]


@pytest.mark.parametrize("convert", [to_pandas, to_nullable_pandas, to_polars, to_arrow_table])
def test_frame_is_estimated_like_its_rows(convert: Callable[[Rows], Any]) -> None:
    @given(st.lists(houses, min_size=1, max_size=3))
    def check_rows(rows: list[dict[str, Any]]) -> None:
        prices, frame = make_prices(), convert(rows)
        present = [{name: value for name, value in row.items() if value is not None} for row in rows]
        expected = outcome(lambda: prices.predict_many(present))
        if not any(row["bedrooms"] is None for row in rows):
            made = prices.predict(frame)
            assert type(made) is type(frame)
            recorded = prices.predictions(len(rows))[::-1]
            assert summarize(recorded) == expected
            columns: dict[str, Any] = {name: column_of(made, name) for name in made_columns(made)}
            assert columns["prediction_id"] == [str(each.id) for each in recorded]
            assert columns["predicted_price"] == [each.price for each in recorded]
            bounds = list(zip(*(columns[name] for name in BOUNDS), strict=True))
            assert bounds == [tuple(each[3]) for each in expected]
            assert columns["warnings"] == [each[4] for each in expected]
        else:
            assert outcome(lambda: prices.predict(frame)) == expected

    check_rows()


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
def test_pandas_index_is_preserved(index: pd.Index) -> None:
    frame = pd.DataFrame({"size": [2500, 1000, 500], "bedrooms": 3, "age": 10, "price": [1, 2, 3]}, index=index)
    made = make_prices().predict(frame)
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
def test_missing_value_of_any_type_is_missing(missing: Any) -> None:
    row = {"size": 2500, "bedrooms": 3, "age": 10}
    frame = pd.DataFrame([{**row, "pool": True, "zip": 98101, "sold": date(2025, 1, 1)}, row], dtype=object)
    frame.loc[1, ["pool", "zip", "sold"]] = missing
    prices = make_prices()
    prices.predict(frame)
    second, first = prices.predictions(2)
    assert first.estimate.house.values == {**row, "pool": True, "zip": "98101", "sold": "2025-01-01"}
    assert second.estimate.house.values == row


def test_whole_floats_are_read_as_integers() -> None:
    frame = pd.DataFrame({"size": [2500, 2500], "bedrooms": [3, 3], "age": [10, 10], "zip": [98101, np.nan]})
    prices = make_prices()
    prices.predict(frame.astype({"bedrooms": float}))
    second, first = prices.predictions(2)
    assert (first.estimate.house.values["zip"], "zip" in second.estimate.house.values) == ("98101", False)
    assert type(first.estimate.house.values["bedrooms"]) is int


def test_datetimes_and_decimals_are_read() -> None:
    values = {"size": Decimal("2500.5"), "bedrooms": 3, "age": 10, "sold": datetime(2025, 6, 1, 12, tzinfo=UTC)}
    prices = make_prices()
    for frame in (pd.DataFrame([values]), pl.DataFrame([values])):
        prices.predict(frame)
        (recorded,) = prices.predictions(1)
        assert recorded.estimate.house.values == {"size": 2500.5, "bedrooms": 3, "age": 10, "sold": "2025-06-01"}


def test_violations_have_rows_and_nothing_is_stored() -> None:
    frame = pd.DataFrame({"size": [2500, -1, "big", 2500], "age": [10, 1.5, 1, 1]})
    prices = make_prices()
    with pytest.raises(InvalidHouses) as caught:
        prices.predict(frame)
    assert [each.pointer for each in caught.value.violations] == ["/bedrooms", "/1/size", "/1/age", "/2/size"]
    assert list(prices.predictions()) == []


def test_frame_larger_than_a_batch_is_estimated_atomically() -> None:
    frame = pl.DataFrame({"size": [1000.0] * 9 + [1e14], "bedrooms": [1] * 10, "age": [1] * 10})
    prices = make_prices()
    with pytest.raises(InvalidHouses, match=r"\[9\]: too far outside"):
        prices.predict(frame)
    assert list(prices.predictions()) == []
    assert len(prices.predict(frame[:9])) == len(prices.predictions(100)) == 9


@pytest.mark.parametrize(
    "value",
    [[], [{"size": 1}], pd.Series([1]), pl.LazyFrame({"size": [1]}), None, "house"],
    ids=["empty", "list", "series", "lazy", "none", "text"],
)
def test_input_that_is_neither_house_nor_frame_is_rejected(value: Any) -> None:
    with pytest.raises(TypeError, match="predict takes a mapping"):
        make_prices().predict(value)


def test_explain_rejects_frames() -> None:
    frame: Any = pd.DataFrame({"size": [2500], "bedrooms": [3], "age": [10]})
    with pytest.raises(TypeError, match="predict_many"):
        make_prices().predict(frame, explain=True)


def test_empty_frame_is_rejected() -> None:
    with pytest.raises(InvalidHouses, match="at least one house"):
        make_prices().predict(pd.DataFrame({"size": [], "bedrooms": [], "age": []}))


MISSING = [None, math.nan, np.nan, np.float32("nan"), np.datetime64("NaT"), pd.NA, pd.NaT, Decimal("NaN")]
SCALARS: dict[str, list[Callable[[Any], Any]]] = {
    "size": [float, np.float64, lambda value: Decimal(repr(value)), np.array],
    "bedrooms": [int, np.int64, np.int8, float, np.float32, Decimal, np.array],
    "age": [int, np.uint8, np.float64, Decimal],
    "pool": [bool, np.bool_, np.array],
    "zip": [str, np.str_],
    "sold": [
        lambda day: day, date.isoformat, pd.Timestamp, np.datetime64,
        lambda day: np.datetime64(day, "ns"), lambda day: datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
    ],
}  # fmt: skip


@given(st.data(), houses)
def test_scalar_types_are_equivalent_to_python_values(data: st.DataObject, house: dict[str, Any]) -> None:
    prices = make_prices()
    plain = {name: value for name, value in house.items() if value is not None}
    written = {
        name: data.draw(st.sampled_from(MISSING if value is None else SCALARS[name]), label=name)
        for name, value in house.items()
    }
    written = {name: each(house[name]) if callable(each) and name in plain else each for name, each in written.items()}
    assert outcome(lambda: [prices.predict(written)]) == outcome(lambda: [prices.predict(plain)])
    assert outcome(lambda: prices.predict_many([written])) == outcome(lambda: prices.predict_many([plain]))


any_cell = st.sampled_from(
    [None, math.nan, math.inf, -math.inf, -1, 0, 3, 1.5, 3.0, 1e15, 1e16, True, False, "", "98101", "3", "2025-06-01",
     date(2025, 6, 1), pd.NA, pd.NaT, np.bool_(True), np.float32(0.5), np.int64(7), Decimal("2.5")]
)  # fmt: skip


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(["size", "bedrooms", "age", "pool", "zip", "sold"], any_cell)),
                min_size=1, max_size=3))  # fmt: skip
def test_frame_is_equivalent_to_its_records(rows: list[dict[str, Any]]) -> None:
    prices, frame = make_prices(), pd.DataFrame(rows, dtype=object)
    expected = outcome(lambda: prices.predict_many(rows), words=True)
    assert outcome(lambda: prices.predict_many(frame), words=True) == expected
    assert outcome(lambda: prices.predict_many(frame.to_dict("records")), words=True) == expected
    if isinstance(expected[0][0], dict):
        prices.predict(frame)
        assert summarize(prices.predictions(len(rows))[::-1]) == expected
    else:
        with pytest.raises(InvalidHouses):
            prices.predict(frame)


typed_rows = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-10, 10_000) | st.sampled_from([math.nan, math.inf]),
        "bedrooms": st.none() | st.integers(-1, 9),
        "age": st.none() | st.integers(0, 99),
        "pool": st.none() | st.booleans(),
        "zip": st.none() | st.sampled_from(["98101", "somewhere"]),
        "sold": st.none() | st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    }
)


@given(st.lists(typed_rows, min_size=1, max_size=3))
def test_frames_of_all_libraries_are_equivalent(rows: list[dict[str, Any]]) -> None:
    prices = make_prices()
    expected = outcome(lambda: prices.predict_many(rows), words=True)
    for convert in (to_pandas, to_nullable_pandas, to_polars, to_arrow_table):
        frame = convert(rows)
        assert outcome(lambda frame=frame: prices.predict_many(frame), words=True) == expected  # type: ignore[misc]
        records = frame.to_dict("records") if isinstance(frame, pd.DataFrame) else pl.DataFrame(frame).to_dicts()
        assert outcome(lambda records=records: prices.predict_many(records), words=True) == expected  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.parametrize("library", [pd, pl])
def test_missing_column_is_reported_once_with_suggestion(library: Any) -> None:
    frame = library.DataFrame({"sise": [2500.0] * 100_000, "bedrooms": [3] * 100_000, "age": [10] * 100_000})
    for estimate in (make_prices().predict, make_prices().predict_many):
        with pytest.raises(InvalidHouses) as caught:
            estimate(frame)
        assert str(caught.value) == "size: required column is missing (did you mean `sise`?)"
        assert [(each.pointer, each.rule) for each in caught.value.violations] == [("/size", "missing")]


def test_message_for_many_violations_is_short() -> None:
    frame = pd.DataFrame({"size": [-1.0] * 5_000, "bedrooms": [3] * 5_000, "age": [10] * 5_000})
    with pytest.raises(InvalidHouses) as caught:
        make_prices().predict(frame)
    assert len(caught.value.violations) == 5_000
    assert len(str(caught.value)) < 1_000
    assert "4,980 more" in str(caught.value)


def test_predict_many_returns_a_list_for_a_frame() -> None:
    frame: Any = pd.DataFrame({"size": [2500], "bedrooms": [3], "age": [10]})
    assert [each.price for each in make_prices().predict_many(frame)] == [254206.02]
