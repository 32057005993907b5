"""Dates in house files are read only where they are unambiguous."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.entrypoints.composition import houses_at


@given(
    st.lists(st.dates(date(1970, 1, 1), date(2068, 12, 31)), min_size=1, max_size=8),
    st.sampled_from(["%m/%d/%Y", "%d/%m/%Y", "%d/%m/%y", "%d.%m.%Y", "%d %b %Y", "%Y-%m-%d"]),
)
@example([date(2015, 4, 3), date(2015, 5, 6)], "%d/%m/%Y")
@example([date(2015, 4, 3), date(2015, 4, 25)], "%d/%m/%Y")
@example([date(2015, 4, 4)], "%d/%m/%Y")
def test_ambiguous_dates_are_rejected(tmp_path_factory: pytest.TempPathFactory, days: list[date], form: str) -> None:
    path = tmp_path_factory.getbasetemp() / "dates.csv"
    written = [day.strftime(form) for day in days]
    path.write_text("row;sold\n" + "".join(f"{row};{cell}\n" for row, cell in enumerate(written)))
    schema = FeatureSchema((Feature("sold", Kind.DATE),))
    read = [house for rows in houses_at(path).read(schema, 3).rows for house in rows.houses]
    is_unambiguous = "/" not in form or any(day.day > 12 for day in days) or all(day.day == day.month for day in days)
    assert read == [
        {"sold": day.isoformat() if is_unambiguous else cell} for day, cell in zip(days, written, strict=True)
    ]
    if not is_unambiguous:
        assert "YYYY-MM-DD" in schema.violations(read[0] or {})[0].describe()


@pytest.mark.parametrize(
    ("sales", "written", "read"),
    [
        (("1990-01-15", "1999-12-15"), "6/15/68", "1968-06-15"),
        (("1955-01-15", "1974-12-15"), "6/15/68", "1968-06-15"),
        (("2014-05-02", "2015-05-27"), "6/15/27", "2027-06-15"),
    ],
)
def test_two_digit_year_is_near_the_training_sales(
    tmp_path: Path, sales: tuple[str, str], written: str, read: str
) -> None:
    file = tmp_path / "houses.csv"
    file.write_text(f"size,sold\n1,{written}\n")
    schema = FeatureSchema((Feature("sold", Kind.DATE, observed=sales),), sale_date="sold")
    assert [house for rows in houses_at(file).read(schema, 9).rows for house in rows.houses] == [{"sold": read}]
