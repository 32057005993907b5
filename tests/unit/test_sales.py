"""The held-out split depends only on the house."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.sales import HELD_OUT_SHARE, SalesTable, create_house_key, is_held_out


def test_held_out_share_is_as_declared() -> None:
    share = sum(is_held_out(str(number)) for number in range(20_000)) / 20_000
    assert abs(share - HELD_OUT_SHARE) < 0.01


def test_held_out_split_is_stable() -> None:
    assert [number for number in range(20) if is_held_out(str(number))] == [8, 9]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()), st.randoms())
def test_house_key_ignores_feature_order(values: dict[str, int | str | bool], random: object) -> None:
    names = list(values)
    random.shuffle(names)  # type: ignore[attr-defined]
    key = create_house_key({name: values[name] for name in names})
    assert key == create_house_key(values)
    assert is_held_out(key) in (True, False)


def test_table_length_is_that_of_columns() -> None:
    assert len(SalesTable({"price": [1, 2, 3], "rooms": [1, 1, 1]}, "digest")) == 3
    assert len(SalesTable({}, "digest")) == 0
