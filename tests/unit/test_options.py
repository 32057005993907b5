"""Training options are validated on construction, with suggestions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import InvalidOptions
from housepredict.domain.features import Kind
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from housepredict.entrypoints.python import Prices
from tests.http_service import application

GOOD: dict[str, Any] = {
    "price": "Sale Price",
    "sale_date": None,
    "house_id": "parcel",
    "features": ["sqft", "beds"],
    "exclude": ("agent",),
    "kinds": {"zip": "category", "beds": Kind.INTEGER},
    "closed": iter(["zip"]),
    "allow": np.array(["assessed"]),
    "algorithm": "boosting",
    "effort": Effort.HIGH,
    "seed": np.int64(7),
    "time_limit": 2,
}


def test_options_accept_members_and_values() -> None:
    options = TrainingOptions(**GOOD)
    assert options == TrainingOptions(
        price="Sale Price",
        house_id="parcel",
        features=("sqft", "beds"),
        exclude=("agent",),
        kinds={"zip": Kind.CATEGORY, "beds": Kind.INTEGER},
        closed=("zip",),
        allow=("assessed",),
        algorithm=Algorithm.BOOSTING,
        effort=Effort.HIGH,
        seed=7,
        time_limit=2.0,
    )
    assert [type(each) for each in (options.algorithm, options.effort, options.seed, options.allow[0])] == [
        Algorithm, Effort, int, str,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "pointer", "says"),
    [
        ("algorithm", "boost", "/algorithm", "did you mean `boosting`?"),
        ("algorithm", "Ridge", "/algorithm", "did you mean `ridge`?"),
        ("algorithm", None, "/algorithm", "must be one of auto, linear, ridge, boosting"),
        ("effort", "hi", "/effort", "must be one of low, normal, high, not 'hi' (did you mean `high`?)"),
        ("effort", 3, "/effort", "must be one of"),
        ("seed", "x", "/seed", "a whole number from 0 to 4,294,967,295"),
        ("seed", -1, "/seed", "a whole number"),
        ("seed", 2**32, "/seed", "a whole number"),
        ("seed", 1.5, "/seed", "a whole number"),
        ("seed", True, "/seed", "a whole number"),
        ("time_limit", -1, "/time_limit", "seconds above 0"),
        ("time_limit", 0, "/time_limit", "seconds above 0"),
        ("time_limit", float("nan"), "/time_limit", "seconds above 0"),
        ("time_limit", float("inf"), "/time_limit", "seconds above 0"),
        ("time_limit", "soon", "/time_limit", "seconds above 0"),
        ("time_limit", True, "/time_limit", "seconds above 0"),
        ("exclude", "age", "/exclude", 'must be a list of columns, such as ["age"], not text'),
        ("features", b"age", "/features", "must be a list of columns"),
        ("closed", {"zip": True}, "/closed", "must be a list of columns"),
        ("allow", 3, "/allow", "must be a list of columns"),
        ("allow", None, "/allow", "must be a list of columns"),
        ("features", ["sqft", 3], "/features/1", "must be the name of a column"),
        ("features", [" "], "/features/0", "must be the name of a column"),
        ("price", "", "/price", "must be the name of a column"),
        ("price", 3, "/price", "must be the name of a column"),
        ("price", "a\0", "/price", "must be the name of a column"),
        ("kinds", {"zip": "catgory"}, "/kinds/zip", "did you mean `category`?"),
        ("kinds", {3: "category"}, "/kinds", "must be the name of a column"),
        ("kinds", ["zip"], "/kinds", "must map columns to kinds"),
    ],
)
def test_invalid_option_error_states_rule(option: str, value: Any, pointer: str, says: str) -> None:
    with pytest.raises(InvalidOptions) as caught:
        TrainingOptions(**{option: value})
    (violation,) = caught.value.violations
    assert violation.pointer == pointer
    assert says in violation.message


def test_invalid_options_are_all_named() -> None:
    wrong: dict[str, Any] = {
        "algorithm": "boost", "effort": "hi", "seed": "x", "time_limit": -1, "exclude": "age",
        "kinds": {"a": "numbr", "b": "x"},
    }  # fmt: skip
    with pytest.raises(InvalidOptions) as caught:
        TrainingOptions(**wrong)
    pointers = {each.pointer for each in caught.value.violations}
    assert pointers == {"/algorithm", "/effort", "/seed", "/time_limit", "/exclude", "/kinds/a", "/kinds/b"}
    assert isinstance(caught.value, ValueError)


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), anything))
def test_any_value_raises_only_invalid_options(values: dict[str, Any]) -> None:
    refused: set[str] = set()
    for _ in range(2):
        try:
            TrainingOptions(**{name: value for name, value in values.items() if name not in refused})
            break
        except InvalidOptions as error:
            refused |= {each.pointer.split("/")[1] for each in error.violations}
    else:
        pytest.fail(f"the second error named other options than the first: {refused}")


def test_policy_is_checked_before_reading() -> None:
    with pytest.raises(InvalidOptions, match="did you mean `always`") as caught:
        Prices(application()).train("there-is-no-such.csv", promote="alway")
    assert caught.value.violations[0].pointer == "/promote"


@pytest.mark.parametrize("sales", [[], {"price": [1]}, 3])
def test_sales_that_are_not_a_path_are_rejected(sales: Any) -> None:
    with pytest.raises(TypeError, match="to_csv"):
        Prices(application()).train(sales)
