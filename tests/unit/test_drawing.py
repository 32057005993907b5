"""Contract suites draw every field of a value, including those without an explicit strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import pytest
from attrs import field, frozen
from attrs.validators import gt
from hypothesis import Phase, find, settings
from hypothesis import strategies as st

from housepredict.testing.drawing import Drawing, exactly


class Color(StrEnum):
    RED = "red"


class Pair(NamedTuple):
    one: int
    other: str = ""


@frozen
class Inner:
    text: str | None = None
    color: Color = Color.RED


@frozen
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    pair: Pair = field(factory=lambda: Pair(0))
    two: tuple[int, str] = (0, "")
    by_name: Mapping[str, float] = field(factory=dict)
    way: Literal["a", "b"] = "a"
    flag: bool = False
    positive: int = field(default=1, validator=gt(0))
    apart: object = field(default=None, eq=False)


@frozen
class Strange:
    call: Callable[[], None] = print


_FAST = settings(max_examples=1000, phases=[Phase.generate])
OUTER = Drawing().builds(Outer)


@pytest.mark.parametrize(
    "differs",
    [
        lambda value: value.inner.text,
        lambda value: value.many and value.many[0].text,
        lambda value: value.pair.other,
        lambda value: value.two[1],
        lambda value: value.by_name,
        lambda value: value.way == "b",
        lambda value: value.flag,
    ],
    ids=["optional", "in a collection", "in a named tuple", "in a tuple", "mapping", "literal", "boolean"],
)
def test_fields_with_defaults_are_drawn_at_any_depth(differs: Callable[[Outer], Any]) -> None:
    assert differs(find(OUTER, lambda value: bool(differs(value)), settings=_FAST))


def test_fields_excluded_from_comparison_are_not_drawn() -> None:
    assert find(OUTER, lambda _: True, settings=_FAST).apart is None


def test_strategies_and_fields_must_match() -> None:
    with pytest.raises(TypeError, match="Inner has no field size"):
        Drawing().builds(Inner, size=st.none())
    with pytest.raises(TypeError, match=r"Strange\.call: no strategy"):
        Drawing().builds(Strange)
    assert find(Drawing().builds(Strange, call=st.just(print)), lambda _: True) == Strange()


def test_exactly_distinguishes_types_of_numbers() -> None:
    assert exactly(Pair(1)) == exactly(Pair(1))
    for other in (1.0, True):
        assert exactly(Inner(other)) != exactly(Inner(1))  # type: ignore[arg-type]
        assert exactly({"a": (other,)}) != exactly({"a": (1,)})
