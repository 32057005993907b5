"""The scikit-learn estimator: scikit-learn's own checks, and equality with regular training."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import evolve
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import housepredict
from housepredict import HousePriceRegressor
from housepredict.adapters.files.sales_file import SalesFile
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.features import House, Kind
from housepredict.domain.sales import Sale, create_house_key
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions

pytestmark = pytest.mark.slow

SARATOGA = Path(__file__).parents[2] / "examples" / "saratoga_sales.csv"
RIDGE = TrainingOptions(algorithm=Algorithm.RIDGE)


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn ships no annotations
    [HousePriceRegressor(), HousePriceRegressor(algorithm="linear")]
)
def test_regressor_passes_scikit_learn_checks(estimator: HousePriceRegressor, check: Callable[..., None]) -> None:
    check(estimator)


def houses(rows: int = 300, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Return houses with features of all kinds, some values missing, and prices with 10% noise."""
    draw = np.random.default_rng(seed)
    size, quarter = draw.uniform(50, 250, rows), draw.choice(["north", "south", "west"], rows)
    garden, built = (
        draw.random(rows) < 0.5,
        pd.to_datetime("1950-01-01") + pd.to_timedelta(draw.integers(0, 25_000, rows), "D"),
    )
    worth = pd.Series(quarter).map({"north": 1.3, "south": 1.0, "west": 0.7}).to_numpy()
    prices = 2000 * size * worth * np.where(garden, 1.1, 1.0) * draw.lognormal(0, 0.1, rows)
    frame = pd.DataFrame({"size": size, "quarter": quarter, "garden": garden, "built": built})
    frame.loc[draw.random(rows) < 0.1, "size"] = np.nan
    frame.loc[draw.random(rows) < 0.1, "quarter"] = None
    return frame, prices


@pytest.fixture(scope="module")
def fitted() -> HousePriceRegressor:
    return HousePriceRegressor(algorithm="ridge").fit(*houses())


def test_prices_and_intervals_equal_those_of_training(tmp_path: Path) -> None:
    sales = prepare(SalesFile(SARATOGA).read(), RIDGE).training
    frame = pd.DataFrame([each.house.values for each in sales])
    model = HousePriceRegressor(algorithm="ridge").fit(frame, [each.price for each in sales])
    with housepredict.open(tmp_path, database_url="memory:", environment={}) as prices:
        prices.train(SARATOGA, RIDGE)
        estimates = [each.estimate for each in prices.predict_many([each.house.values for each in sales[:200]])]
    asked = frame[:200]
    assert model.predict(asked).round(2).tolist() == [each.price for each in estimates]
    for level, place in ((0.8, 0), (0.9, 1)):
        bounds = np.array([each.intervals[place][1:] for each in estimates])
        assert model.predict_interval(asked, level) == pytest.approx(bounds, abs=0.02)


def test_boosted_trees_equal_those_of_training() -> None:
    frame, prices = houses(60)
    model = HousePriceRegressor(algorithm="boosting", effort="low").fit(frame, prices)
    options = TrainingOptions(algorithm=Algorithm.BOOSTING, effort=Effort.LOW)
    trained = SklearnTrainer(jobs=1).fit(model.schema_, _sales(model, frame, prices), options, lambda *_: None)
    assert model.algorithm_ == "boosting"
    assert model.predict(frame).tolist() == trained.predict(_houses(model, frame)).prices


def _houses(model: HousePriceRegressor, frame: pd.DataFrame) -> Sequence[House]:
    plain = frame.assign(built=[each.date().isoformat() for each in frame["built"]]).astype(object)
    rows = plain.where(plain.notna(), None).to_dict("records")
    return model.schema_.houses([{name: value for name, value in row.items() if value is not None} for row in rows])


def _sales(model: HousePriceRegressor, frame: pd.DataFrame, prices: Any) -> Sequence[Sale]:
    return [
        Sale(house, price, create_house_key({name: value for name, value in house.values.items() if name != "built"}))
        for house, price in zip(_houses(model, frame), prices.tolist(), strict=True)
    ]


def test_frame_of_all_kinds_with_missing_values_is_fitted(fitted: HousePriceRegressor) -> None:
    kinds = {feature.name: feature.kind for feature in fitted.schema_.features}
    assert kinds == {"size": Kind.NUMBER, "quarter": Kind.CATEGORY, "garden": Kind.BOOLEAN, "built": Kind.DATE}
    frame, prices = houses(200, seed=1)
    complete = frame.notna().all(axis=1)
    assert np.median(np.abs(fitted.predict(frame[complete]) / prices[complete] - 1)) < 0.1
    assert list(fitted.feature_names_in_) == list(frame.columns)


def test_unseen_category_is_estimated_as_missing(fitted: HousePriceRegressor) -> None:
    frame, _ = houses(20, seed=2)
    unseen, missing = frame.assign(quarter="moon"), frame.assign(quarter=None)
    assert fitted.predict(unseen).tolist() == fitted.predict(missing).tolist()
    nothing = pd.DataFrame({name: [None] for name in frame})
    assert fitted.predict(nothing)[0] > 0


def test_category_dtype_makes_codes_categories() -> None:
    frame, prices = houses()
    codes = frame["quarter"].map({"north": 1, "south": 2, "west": 3})
    model = HousePriceRegressor(algorithm="ridge").fit(frame.assign(quarter=codes.astype("category")), prices)
    named = HousePriceRegressor(algorithm="ridge").fit(frame, prices)
    assert {feature.name: feature.kind for feature in model.schema_.features}["quarter"] is Kind.CATEGORY
    coded = frame.assign(quarter=codes.astype("category"))
    assert model.predict(coded) == pytest.approx(named.predict(frame))


def test_pandas_nullable_values_are_missing(fitted: HousePriceRegressor) -> None:
    frame, _ = houses(20, seed=3)
    nullable = frame.convert_dtypes()
    assert nullable["size"].isna().any()
    assert fitted.predict(nullable).tolist() == fitted.predict(frame).tolist()


def test_house_without_sale_date_is_valued_on_latest() -> None:
    frame, prices = houses()
    frame["sold"] = pd.date_range("2020-01-01", periods=len(frame))
    model = HousePriceRegressor(algorithm="ridge", sale_date="sold").fit(frame, prices * np.linspace(1, 2, len(frame)))
    assert (model.schema_.sale_date, model.schema_.valuation_date) == ("sold", date(2020, 10, 26))
    asked = frame[:5]
    early = asked.assign(sold=pd.Timestamp("2020-01-01"))
    latest, unsaid = asked.assign(sold=pd.Timestamp("2020-10-26")), asked.assign(sold=pd.NaT)
    assert model.predict(latest).tolist() == model.predict(unsaid).tolist()
    assert (model.predict(early) < 0.7 * model.predict(latest)).all()


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y"])
def test_predict_is_independent_of_batch_and_reads_text_as_fit(form: str) -> None:
    frame, prices = houses()
    days = pd.Series(pd.date_range("2020-01-01", periods=len(frame)))
    frame = frame.assign(sold=days.dt.strftime(form), size=frame["size"].map("{:.3f}".format))
    model = HousePriceRegressor(algorithm="ridge", sale_date="sold").fit(frame, prices * np.linspace(1, 2, len(frame)))
    model = pickle.loads(pickle.dumps(model))
    together = model.predict(frame)
    assert [model.predict(frame[row : row + 1])[0] for row in range(40)] == together[:40].tolist()
    assert model.predict(frame.assign(sold=days)).tolist() == together.tolist()


def test_decimals_are_read_as_numbers() -> None:
    frame, prices = houses(60)
    exact = frame.assign(size=[None if np.isnan(each) else Decimal(repr(each)) for each in frame["size"]])
    model = HousePriceRegressor(algorithm="ridge").fit(exact, prices)
    assert (
        model.predict(exact).tolist()
        == HousePriceRegressor(algorithm="ridge").fit(frame, prices).predict(frame).tolist()
    )


def test_intervals_are_nested_and_cover_prices(fitted: HousePriceRegressor) -> None:
    frame, prices = houses(1000, seed=4)
    known = frame.notna().all(axis=1)
    frame, prices = frame[known], prices[known]
    narrow, wide = fitted.predict_interval(frame, coverage=0.5), fitted.predict_interval(frame)
    assert wide.shape == (len(frame), 2)
    estimates = fitted.predict(frame)
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert ((narrow[:, 0] < estimates) & (estimates < narrow[:, 1])).all()
    assert (narrow[:, 1] < wide[:, 1]).all()
    assert ((wide[:, 0] <= prices) & (prices <= wide[:, 1])).mean() > 0.85


@pytest.mark.parametrize("coverage", [0.0, 1.0, 0.95, -0.1])
def test_interval_coverage_is_validated(fitted: HousePriceRegressor, coverage: float) -> None:
    with pytest.raises(ValueError, match="coverage"):
        fitted.predict_interval(houses(5)[0], coverage)


def test_interval_of_high_coverage_needs_enough_sales() -> None:
    frame, prices = houses(50)
    model = HousePriceRegressor(algorithm="ridge").fit(frame, prices)
    assert model.predict_interval(frame, 0.5).shape == (50, 2)
    with pytest.raises(ValueError, match="too few"):
        model.predict_interval(frame, 0.9)


def test_interval_without_bound_is_rejected() -> None:
    frame, prices = houses(100)
    model = HousePriceRegressor(algorithm="ridge").fit(frame, prices)
    assert model.calibration_
    model.calibration_ = evolve(model.calibration_, within_tenths=(0.1, np.inf))
    assert model.predict_interval(frame, 0.1).shape == (100, 2)
    with pytest.raises(ValueError, match="coverage: too many estimates are zero or less"):
        model.predict_interval(frame, 0.2)


def test_regressor_works_in_pipelines_and_searches() -> None:
    frame, prices = houses()
    numbers = frame[["size", "garden"]].astype(float)
    scaled = ColumnTransformer([("size", StandardScaler(), ["size"])], remainder="passthrough")
    pipeline = make_pipeline(scaled, HousePriceRegressor(algorithm="ridge"))
    assert pipeline.fit(numbers, prices).predict(numbers).shape == (300,)
    assert cross_val_score(HousePriceRegressor(algorithm="ridge"), frame, prices, cv=3).mean() > 0.5
    search = GridSearchCV(HousePriceRegressor(), {"algorithm": ["linear", "ridge"]}, cv=2).fit(frame, prices)
    assert search.best_params_ == {"algorithm": "ridge"}
    assert search.predict(frame).shape == (300,)


def test_parameters_can_be_cloned_and_set() -> None:
    model = HousePriceRegressor(
        algorithm="ridge", effort="low", sale_date="sold", time_limit=3.0, random_state=7, n_jobs=2
    )
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(algorithm="linear").algorithm == "linear"
    assert repr(HousePriceRegressor(algorithm="ridge")) == "HousePriceRegressor(algorithm='ridge')"


def test_random_state_may_be_a_generator() -> None:
    frame, prices = houses(60)
    first, second = (
        HousePriceRegressor(algorithm="ridge", random_state=np.random.RandomState(1)).fit(frame, prices) for _ in "ab"
    )
    assert first.predict(frame).tolist() == second.predict(frame).tolist()


def test_array_is_estimated_like_frame() -> None:
    frame, prices = houses()
    numbers = frame[["size"]].assign(rooms=(frame["size"] // 30).fillna(3))
    of_frame = HousePriceRegressor(algorithm="ridge").fit(numbers, prices)
    of_array = HousePriceRegressor(algorithm="ridge").fit(numbers.to_numpy(), prices)
    assert of_frame.predict(numbers).tolist() == of_array.predict(numbers.to_numpy()).tolist()
    with pytest.warns(UserWarning, match="feature names"):
        assert of_array.predict(numbers).tolist() == of_frame.predict(numbers).tolist()
    with pytest.warns(UserWarning, match="feature names"):
        assert of_frame.predict(numbers.to_numpy()).tolist() == of_frame.predict(numbers).tolist()


def test_constant_columns_are_ignored() -> None:
    frame, prices = houses()
    plain = HousePriceRegressor(algorithm="ridge").fit(frame, prices)
    more = HousePriceRegressor(algorithm="ridge").fit(frame.assign(country="here", nothing=np.nan), prices)
    assert more.predict(frame.assign(country="there", nothing=1.0)).tolist() == plain.predict(frame).tolist()
    alike = HousePriceRegressor(algorithm="ridge").fit(np.ones((20, 2)), np.arange(1.0, 21.0))
    assert 1 < alike.predict([[1.0, 1.0]])[0] < 20


FRAME, PRICES = houses(40)


@pytest.mark.parametrize(
    ("frame", "prices", "parameters", "message"),
    [
        (FRAME, -PRICES, {}, "above zero"),
        (FRAME, np.where(PRICES > 1, np.inf, 1), {}, "infinity"),
        (FRAME.assign(size=np.inf), PRICES, {}, "infinity"),
        (FRAME[:4], PRICES[:4], {}, r"4 sample\(s\)"),
        (FRAME, PRICES[:-1], {}, "inconsistent"),
        (pd.concat([FRAME, FRAME], axis=1), PRICES, {}, "unique column names"),
        (pd.DataFrame([[1, 2]] * 40, columns=[0, 0]), PRICES, {}, "unique column names"),
        (FRAME, PRICES, {"sale_date": "sold"}, "no column 'sold'"),
        (FRAME.assign(sold=None), PRICES, {"sale_date": "sold"}, "a valid date in every row"),
        (FRAME[["size"]].fillna(1).to_numpy(), PRICES, {"sale_date": "sold"}, "data frame"),
        (FRAME, PRICES, {"algorithm": "magic"}, "magic"),
        (FRAME, PRICES, {"effort": "none"}, "none"),
    ],
)
def test_fit_rejects_unusable_data(frame: Any, prices: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HousePriceRegressor(**parameters).fit(frame, prices)


def test_numpy_scalars_in_object_columns_are_read() -> None:
    frame = pd.DataFrame({"size": [np.float64(each) if each % 7 else None for each in range(40)]}, dtype=object)
    model = HousePriceRegressor(algorithm="ridge").fit(frame, np.linspace(1, 2, 40))
    assert model.schema_.features[0].kind is Kind.NUMBER


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("HousePriceRegressor", "sklearn", "train"), ("asgi_app", "starlette", "serve")]
)
def test_missing_extra_is_named(name: str, package: str, extra: str) -> None:
    code = f"""
import sys
sys.modules["{package}"] = None
import housepredict
try:
    housepredict.{name}
except housepredict.MissingExtra as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"housepredict[{extra}]" in output
